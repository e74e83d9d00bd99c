package supernet

import (
	"time"

	"weft/quant"
)

// layers8 is Layers for an int8 plan.
func (w *Worker) layers8(p *Plan, images []float32, n, rounds int, now func() time.Time) []Layer {
	group := w.groupOf(p.int8, n)
	layers := p.describe8(group)
	logits := make([]float32, n*p.Classes)
	b := &w.int8.batch
	for round := range rounds {
		times := make([]time.Duration, len(layers))
		*b = batch8{w: w, p: p, n: n, group: group, images: images, logits: logits, timing: timing{now: now, times: times}}
		for i := range (n + group - 1) / group {
			b.through(i, 0, true)
		}
		shortest(layers, times, round)
	}
	b.timing = timing{}
	return layers
}

// describe8 returns the layers of an int8 plan for groups of images, without times. A
// layer's bytes are those of its values; a multiply-add of bytes counts as one.
func (p *Plan) describe8(group int) []Layer {
	q := p.int8
	layers := []Layer{{
		Name: "pixels", Kind: "pixels", Kernel: "int8", In: p.Input, Out: p.Input, Moved: 5 * p.Input.Size(), Group: group,
	}}
	for i := range q.steps {
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
		if o.columns == nil && q.steps[i].res >= 0 {
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
