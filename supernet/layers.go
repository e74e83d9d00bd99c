package supernet

import (
	"fmt"
	"time"

	"weft/nn"
	"weft/tensor"
)

// Layer is what one operation of a plan does and how long it takes.
type Layer struct {
	Name    string // of the supernet's layer; the kind where it has no weights
	Kind    string
	Kernel  string // how it is computed: direct, winograd-2 or -4, int8, or int8 winograd-4
	In, Out tensor.Shape
	K       int // kernel and stride, 0 without
	Stride  int
	MACs    int // of one image
	Weights int // bytes of weights read, once a group of images
	Moved   int // bytes of activations read and written, an image
	Group   int // images that are worked on together
	Time    time.Duration
}

// Flops returns the operations of n images, a multiply-add being two.
func (l *Layer) Flops(n int) float64 { return 2 * float64(n*l.MACs) }

// Bytes returns what n images read and write, with the weights.
func (l *Layer) Bytes(n int) float64 {
	groups := (n + l.Group - 1) / l.Group
	return float64(n*l.Moved + groups*l.Weights)
}

// Layers runs n images so many rounds on all threads of the worker and returns for each
// operation its shortest time for all images. The first is the normalisation of the pixels.
// Where threads work on images of their own, the time is that of the first thread.
func (w *Worker) Layers(p *Plan, images []float32, n, rounds int, now func() time.Time) []Layer {
	w.Reserve(p, n)
	start, layers := w.start, []Layer(nil)
	if p.int8 != nil {
		start = w.run8
		for i := range p.int8.segments {
			s := &p.int8.segments[i]
			layers = append(layers, p.describe8(s, w.groupOf(s, n))...)
		}
	} else {
		layers = p.describe(n)
	}
	logits := make([]float32, n*p.Classes)
	for round := range rounds {
		times := make([]time.Duration, len(layers))
		start(p, images, n, logits, timing{now: now, times: times})
		shortest(layers, times, round)
	}
	return layers
}

// shortest keeps the least time of each layer.
func shortest(layers []Layer, times []time.Duration, round int) {
	for i, t := range times {
		if round == 0 || t < layers[i].Time {
			layers[i].Time = t
		}
	}
}

// timing adds up how long operations take, if times is not nil; operation i of the plan
// has entry i+1.
type timing struct {
	now   func() time.Time
	last  time.Time
	times []time.Duration
}

// start begins a group of images.
func (t *timing) start() {
	if t.times != nil {
		t.last = t.now()
	}
}

// lap ends entry i.
func (t *timing) lap(i int) {
	if t.times != nil {
		now := t.now()
		t.times[i] += now.Sub(t.last)
		t.last = now
	}
}

// describe returns the layers of the plan for batches of n, without times.
func (p *Plan) describe(n int) []Layer {
	layers := make([]Layer, 0, len(p.steps)+1)
	add := func(o *op, group int, res bool) {
		l := Layer{
			Name: o.name, Kind: o.kindName(), Kernel: "direct", In: o.in, Out: o.out, K: o.k, Stride: o.stride,
			MACs: o.macs, Weights: 4 * o.weights(), Moved: 4 * (o.in.Size() + o.out.Size()), Group: min(group, n),
		}
		if l.Name == "" {
			l.Name = l.Kind
		}
		if j := (job{op: o, images: l.Group}); j.asTiles() {
			l.Kernel = fmt.Sprintf("winograd-%d", o.wino.M)
			l.Weights = l.Weights / 9 * (o.wino.M + 2) * (o.wino.M + 2)
		}
		if res {
			l.Moved += 4 * o.out.Size()
		}
		layers = append(layers, l)
	}
	add(p.first, p.segments[0].group, false)
	for i := range p.segments {
		for _, c := range p.steps[p.segments[i].from:p.segments[i].to] {
			add(c.op, p.segments[i].group, c.res != nowhere)
		}
	}
	return layers
}

// kindName returns what nn calls the operation.
func (o *op) kindName() string {
	if o.kind == pixels {
		return "pixels"
	}
	return o.kind.String()
}

// weights returns how many floats of weights the operation reads.
func (o *op) weights() int {
	switch o.kind {
	case nn.Conv, nn.Depthwise:
		return o.macs / o.out.Pixels()
	default:
		return o.macs
	}
}
