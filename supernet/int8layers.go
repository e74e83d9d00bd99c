package supernet

import (
	"time"

	"weft/quant"
)

// layers8 is Layers for an int8 plan.
func (w *Worker) layers8(p *Plan, images []float32, n, rounds int, now func() time.Time) []Layer {
	var layers []Layer
	for i := range p.int8.segments {
		s := &p.int8.segments[i]
		layers = append(layers, p.describe8(s, w.groupOf(s, n))...)
	}
	logits := make([]float32, n*p.Classes)
	b := &w.int8.batch
	for round := range rounds {
		times := make([]time.Duration, len(layers))
		*b = batch8{w: w, p: p, n: n, images: images, logits: logits, timing: timing{now: now, times: times}}
		for i := range p.int8.segments {
			for group := range b.begin(&p.int8.segments[i]) {
				b.through(group, 0, true)
			}
		}
		shortest(layers, times, round)
	}
	b.timing = timing{}
	return layers
}

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
