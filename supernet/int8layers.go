package supernet

import "weft/quant"

// describe8 returns the layers of a segment for groups of images, without times.
func (p *Plan) describe8(s *segment8, group int) []Layer {
	var layers []Layer
	if s.from == 0 {
		layers = append(layers, Layer{
			Name: "pixels", Kind: "pixels", Kernel: "int8", In: p.Input, Out: p.Input, Moved: 5 * p.Input.Size(), Group: group,
		})
	}
	q := p.int8
	for i := s.from; i < s.to; i++ {
		o := q.steps[i].op
		l := Layer{
			Name: o.name, Kind: o.kind.String(), Kernel: "int8", In: o.in, Out: o.out, K: o.k, Stride: o.stride,
			MACs: o.multiplied(), Moved: o.in.Size() + o.out.Size(), Group: group,
		}
		if s := o.squared; s != nil && group >= s.few {
			l.Kernel = "int8 winograd-4"
		}
		if l.Name == "" {
			l.Name = l.Kind
		}
		l.Weights = l.MACs / o.out.Pixels()
		if l.Kernel != "int8" {
			l.Weights *= 36 * 2 / 9 // of 16 bits, at 36 positions
		}
		if o.columns == nil && q.steps[i].res != nowhere8 {
			l.Moved += o.out.Size()
		}
		layers = append(layers, l)
	}
	return layers
}

// multiplied returns the multiply-adds of an image.
func (o *op8) multiplied() int {
	switch o.kind {
	case quant.Conv:
		return o.k * o.k * o.in.C * o.out.Size()
	case quant.Depthwise:
		return o.k * o.k * o.out.Size()
	case quant.FC:
		return o.in.Size() * o.out.C
	default:
		return 0
	}
}
