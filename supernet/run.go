package supernet

import (
	"weft/kernel"
	"weft/nn"
)

// A phase is a part of an operation that needs all of the part before it. Each has rows
// and, where the operation computes outputs independently of each other, panels of 16
// channels, which threads may share out in any way without changing a bit of the result.
type phase uint8

// Phases of squeeze-and-excite; the first two are also those of the global mean. All other
// operations have one.
const (
	addUp   phase = iota // sums of the strips of each image
	mean                 // the means of them
	squeeze              // means to hidden channels
	excite               // hidden channels to gates
	gate                 // inputs times gates
)

// phases returns how many the operation has.
func (o *op) phases() phase {
	switch o.kind {
	case nn.SE:
		return gate + 1
	case nn.GlobalPool:
		return mean + 1
	default:
		return 1
	}
}

// job is one phase of one step on a group of images.
type job struct {
	op      *op
	scale   []float32 // of the normalisation, nil without
	shift   []float32
	phase   phase
	images  int
	x, y    []float32
	res     []float32
	scratch []float32
}

// tool is what a thread changes while it works: the kernel calls that it fills in.
type tool struct {
	conv    kernel.Conv
	wino    kernel.Winograd
	dw      kernel.Depthwise
	gather  kernel.Gather
	scratch []float32 // of wino
	widened []float32 // a compact normalisation
	_       [64]byte  // keeps threads off each other's cache lines
}

// zeros is a shift that changes nothing.
var zeros [maxChannels]float32

// size returns how many rows and panels the job has.
func (j *job) size() (rows, panels int) {
	o, n := j.op, j.images
	switch o.kind {
	case nn.Conv:
		if j.asTiles() {
			return o.wino.Tiles(n), kernel.Panels(o.conv.Cout)
		}
		return n * o.conv.G.Rows(), kernel.Panels(o.conv.Cout)
	case nn.FC:
		return n, kernel.Panels(o.conv.Cout)
	case pixels:
		return (n*o.in.Size() + len(o.conv.Scale) - 1) / len(o.conv.Scale), 1
	case nn.SE, nn.GlobalPool:
		switch j.phase {
		case addUp:
			return n * o.strips(), 1
		case mean:
			return n, 1
		case squeeze:
			return n, kernel.Panels(o.conv.Cout)
		case excite:
			return n, kernel.Panels(o.second.Cout)
		}
		return n * o.in.Pixels(), 1
	default:
		return n * o.out.Pixels(), 1
	}
}

// run computes the rows [lo, hi) of the panels [from, to).
func (j *job) run(t *tool, lo, hi, from, to int) {
	o := j.op
	switch o.kind {
	case nn.Conv, nn.FC:
		if j.asTiles() {
			j.tiles(t, lo, hi, from, to)
			return
		}
		j.dense(t, &o.conv, j.x, j.y, lo, hi, from, to)
	case nn.Depthwise:
		t.dw = o.dw
		t.dw.X, t.dw.Y, t.dw.Res = j.x, j.y, j.res
		t.dw.Scale, t.dw.Shift = j.scale, j.shift
		t.dw.Rows(lo, hi)
	case nn.MaxPool, nn.AvgPool:
		j.pool(t, lo, hi)
	case nn.Add:
		c := o.out.C
		lo, hi = lo*c, hi*c
		kernel.ScaleShift(j.y[lo:hi], j.x[lo:hi], j.res[lo:hi], (hi-lo)/c, c, o.conv.Scale, o.conv.Shift, o.act)
	case pixels:
		j.normalise(lo, hi)
	default:
		j.channels(t, lo, hi, from, to)
	}
}

// dense runs a convolution or fully connected layer.
func (j *job) dense(t *tool, c *kernel.Conv, x, y []float32, lo, hi, from, to int) {
	t.conv = *c
	k := &t.conv
	k.X, k.Y, k.Res = x, y, j.res
	if j.scale != nil {
		k.Scale, k.Shift = j.scale, j.shift
	}
	if from > 0 || to < kernel.Panels(k.Cout) {
		at := from * kernel.Panel
		k.Cout = min(k.Cout, to*kernel.Panel) - at
		k.W = k.W[kernel.PackedIndex(k.Taps, k.InMax, at, 0, 0):]
		k.Y = k.Y[at:]
		k.Scale, k.Shift, k.Res = tail(k.Scale, at), tail(k.Shift, at), tail(k.Res, at)
	}
	k.Rows(lo, hi)
}

// pool runs rows of a pooling, image by image.
func (j *job) pool(t *tool, lo, hi int) {
	o := j.op
	g, c := o.gather, o.in.C
	taps := len(g.Taps)
	for lo < hi {
		image, i := lo/g.OutPix, lo%g.OutPix
		n := min(g.OutPix-i, hi-lo)
		t.gather = kernel.Gather{InPix: g.InPix, OutPix: n, Taps: g.Taps, In: g.In[i*taps : (i+n)*taps]}
		x, y := j.x[image*g.InPix*c:][:g.InPix*c], j.y[lo*c:(lo+n)*c]
		if o.kind == nn.MaxPool {
			kernel.MaxPool(&t.gather, x, y, nil, c)
		} else {
			kernel.AvgPool(&t.gather, x, y, c)
		}
		lo += n
	}
}

// normalise works on rows of eight pixels; the last one of all may be shorter.
func (j *job) normalise(lo, hi int) {
	c := &j.op.conv
	row := len(c.Scale)
	at, end := lo*row, min(hi*row, j.images*j.op.in.Size())
	whole := (end - at) / row
	if whole > 0 {
		kernel.ScaleShift(j.y[at:], j.x[at:], nil, whole, row, c.Scale, c.Shift, kernel.Linear)
	}
	for i, from := 0, at+whole*row; from+i < end; i++ {
		j.y[from+i] = j.x[from+i]*c.Scale[i] + c.Shift[i]
	}
}

// channels runs a phase of squeeze-and-excite or of the global mean. The scratch holds the
// sums of all images, then means, hidden channels and gates.
func (j *job) channels(t *tool, lo, hi, from, to int) {
	o := j.op
	c, pix, parts := o.in.C, o.in.Pixels(), o.strips()
	sums, rest := j.scratch[:j.images*parts*c], j.scratch[j.images*parts*c:]
	means := j.y
	if o.kind == nn.SE {
		means, rest = rest[:j.images*c], rest[j.images*c:]
	}
	hidden := o.conv.Cout * j.images
	switch j.phase {
	case addUp:
		clear(sums[lo*c : hi*c])
		for i := lo; i < hi; i++ {
			a, b := o.strip(i % parts)
			kernel.ChannelSum(j.x[(i/parts*pix+a)*c:], nil, b-a, c, sums[i*c:(i+1)*c], nil)
		}
	case mean:
		for i := lo; i < hi; i++ {
			m := means[i*c : (i+1)*c]
			clear(m)
			kernel.ChannelSum(sums[i*parts*c:], nil, parts, c, m, nil)
			for k := range m {
				m[k] *= 1 / float32(pix)
			}
		}
	case squeeze:
		j.dense(t, &o.conv, means, rest, lo, hi, from, to)
	case excite:
		j.dense(t, &o.second, rest, rest[hidden:], lo, hi, from, to)
	case gate:
		j.gate(rest[hidden:], lo, hi)
	}
}

// gate multiplies rows by the gates of their images.
func (j *job) gate(gates []float32, lo, hi int) {
	c, pix := j.op.in.C, j.op.in.Pixels()
	for lo < hi {
		image := lo / pix
		n := min((image+1)*pix, hi) - lo
		kernel.ScaleShift(j.y[lo*c:], j.x[lo*c:], nil, n, c, gates[image*c:], zeros[:c], kernel.Linear)
		lo += n
	}
}
