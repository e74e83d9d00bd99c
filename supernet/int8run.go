package supernet

import (
	"weft/kernel"
	"weft/quant"
	"weft/tensor"
)

// worker8 is a worker's memory for int8 plans.
type worker8 struct {
	threads []thread8
	passed  []uint8 // what the second segments of plans take over, image by image
	batch   batch8
	split   split8
}

// thread8 is what one thread needs.
type thread8 struct {
	values  []uint8
	logits  []float32
	job     job8
	part    kernel.Winograd8 // of a convolution that is shared by its outputs
	scratch []uint8
}

// batch8 is a batch on its way through a plan, and the task by which threads take groups
// of its images through a segment.
type batch8 struct {
	w       *Worker
	p       *Plan
	n       int
	segment *segment8
	group   int
	images  []float32
	logits  []float32
	timing  timing
}

// job8 is one operation on a group of images.
type job8 struct {
	op        *op8
	tiled     bool             // the convolution is computed by tiles
	conv      kernel.Winograd8 // or without U a mere Conv8
	dw        kernel.Depthwise8
	x, y, res []uint8
}

// split8 is the task by which all threads share one job: some units each or, of a
// convolution of few rows, some panels of its outputs.
type split8 struct {
	w      *worker8
	job    *job8
	units  int
	chunk  int
	panels int // of a chunk, 0 for units
}

// shareMACs is how many multiply-adds are worth sharing: several microseconds of work.
// Tests share everything.
var shareMACs = 1_000_000

// share runs a job on n images on all threads, or on this one where that is little work.
func (w *Worker) share(j *job8, n int) {
	threads, units := w.pool.Threads(), j.units(n)
	if threads == 1 || n*j.op.rows*j.op.macs < shareMACs {
		j.run(0, units, &w.int8.threads[0])
		return
	}
	// Two chunks a thread, of whole tiles.
	s := split8{w: &w.int8, job: j, units: units, chunk: max((units/(2*threads)+23)/24, 1) * 24}
	chunks := (units + s.chunk - 1) / s.chunk
	if c := &j.op.conv; chunks < 2*threads && c.Cout >= 2*threads*kernel.Panel {
		panels := kernel.Panels(c.Cout)
		s.panels = (panels + 2*threads - 1) / (2 * threads)
		chunks = (panels + s.panels - 1) / s.panels
	}
	w.int8.split = s
	w.pool.Run(chunks, &w.int8.split)
}

// Do runs chunk i.
func (s *split8) Do(i, thread int) {
	t := &s.w.threads[thread]
	if s.panels == 0 {
		s.job.run(i*s.chunk, min(s.units, (i+1)*s.chunk), t)
		return
	}
	c, co := &t.part, i*s.panels*kernel.Panel
	*c = s.job.conv
	c.Cout = min(c.Cout-co, s.panels*kernel.Panel)
	c.W = c.W[kernel.PackedIndex8(c.Taps, c.InMax, co, 0, 0):]
	c.Bias, c.Scale = c.Bias[co:], c.Scale[co:]
	if c.Float != nil {
		c.Float = c.Float[co:]
	} else {
		c.Y = c.Y[co:]
	}
	if c.Res != nil {
		c.Res = c.Res[co:]
	}
	if s.job.tiled {
		c.U = c.U[kernel.Winograd8Len(co, c.InMax):]
		c.Rows(0, s.units, t.scratch)
	} else {
		c.Conv8.Rows(0, s.units)
	}
}

// groupOf returns how many of n images a thread takes at a time.
func (w *Worker) groupOf(s *segment8, n int) int {
	t := w.pool.Threads()
	return min(s.group, (n+t-1)/t)
}

// reserve8 grows the worker's memory for n images of an int8 plan.
func (w *Worker) reserve8(q *plan8, n int) {
	if w.int8.threads == nil {
		w.int8.threads = make([]thread8, w.pool.Threads())
	}
	if size := n * q.passed; len(w.int8.passed) < size {
		w.int8.passed = tensor.Bytes(size)
	}
	for i := range q.segments {
		group := w.groupOf(&q.segments[i], n)
		for k := range w.int8.threads {
			t := &w.int8.threads[k]
			if size := group * q.segments[i].lines * line8; len(t.values) < size {
				t.values = tensor.Bytes(size)
			}
			if size := group * q.logits; len(t.logits) < size {
				t.logits = make([]float32, size)
			}
			if len(t.scratch) < q.scratch {
				t.scratch = tensor.Bytes(q.scratch)
			}
		}
	}
}

// bytes returns the memory held.
func (w *worker8) bytes() int {
	n := len(w.passed)
	for i := range w.threads {
		n += len(w.threads[i].values) + len(w.threads[i].scratch) + 4*len(w.threads[i].logits)
	}
	return n
}

// run8 is Run for an int8 plan: threads take groups of images through a segment; the groups
// that are left over are worked on by all threads together, operation by operation.
func (w *Worker) run8(p *Plan, images []float32, n int, logits []float32, time timing) {
	w.reserve8(p.int8, n)
	b := &w.int8.batch
	*b = batch8{w: w, p: p, n: n, images: images, logits: logits, timing: time}
	t := w.pool.Threads()
	for i := range p.int8.segments {
		groups := b.begin(&p.int8.segments[i])
		alone := groups / t * t
		if time.times != nil {
			alone = 0
		}
		w.pool.Run(alone, b)
		for i := alone; i < groups; i++ {
			b.through(i, 0, true)
		}
	}
}

// begin brings the batch to a segment and returns the number of groups.
func (b *batch8) begin(s *segment8) int {
	b.segment, b.group = s, b.w.groupOf(s, b.n)
	return (b.n + b.group - 1) / b.group
}

// Do takes group i through the segment on one thread.
func (b *batch8) Do(i, thread int) { b.through(i, thread, false) }

func (b *batch8) through(i, thread int, together bool) {
	q, t := b.p.int8, &b.w.int8.threads[thread]
	lo := i * b.group
	n := min(b.group, b.n-lo)
	at := func(p place8) []uint8 {
		switch p {
		case nowhere8:
			return nil
		case passed8:
			return b.w.int8.passed[lo*q.passed:]
		default:
			return t.values[int(p)*n*line8:]
		}
	}
	b.timing.start()
	if b.segment.from == 0 {
		kernel.Quantise8(at(q.input), b.images[lo*b.p.Input.Size():(lo+n)*b.p.Input.Size()], q.sub, q.mul, q.zero)
		b.timing.lap(0)
	}
	j := &t.job
	for k := b.segment.from; k < b.segment.to; k++ {
		s := &q.steps[k]
		j.op, j.x, j.y, j.res = s.op, at(s.in), at(s.out), at(s.res)
		j.prepare(n, t.logits)
		if together {
			b.w.share(j, n)
		} else {
			j.run(0, j.units(n), t)
		}
		b.timing.lap(k + 1)
	}
	if b.segment.to == len(q.steps) {
		for k := range n {
			copy(b.logits[(lo+k)*b.p.Classes:(lo+k+1)*b.p.Classes], t.logits[k*q.logits:])
		}
	}
}

// prepare sets up the kernel call of a convolution.
func (j *job8) prepare(n int, logits []float32) {
	o := j.op
	j.tiled = false
	switch o.kind {
	case quant.Conv, quant.FC:
		j.conv.Conv8 = o.conv
		if q := o.squared; q != nil && n >= q.few {
			j.tiled, j.conv.U, j.conv.Tiles = true, q.u, q.tiles
		}
		j.conv.X, j.conv.Y, j.conv.Res = j.x, j.y, j.res
		if c := o.columns; c != nil {
			for i := range n {
				c.fill(j.res[i*c.size:(i+1)*c.size], j.x[i*o.in.Size():(i+1)*o.in.Size()], o.x)
			}
			j.conv.X, j.conv.Res = j.res, nil
		}
		if o.kind == quant.FC {
			j.conv.Float = logits
		}
	case quant.Depthwise:
		j.dw = o.dw
		j.dw.X, j.dw.Y = j.x, j.y
	}
}

// units returns the number of units of work of n images.
func (j *job8) units(n int) int {
	if j.tiled {
		return n * j.conv.Tiles.In.OutPix
	}
	return n * j.op.rows
}

// run computes units [lo, hi): output pixels, but tiles of them or whole images of means.
func (j *job8) run(lo, hi int, t *thread8) {
	o := j.op
	switch c := o.out.C; o.kind {
	case quant.Conv, quant.FC:
		if j.tiled {
			j.conv.Rows(lo, hi, t.scratch)
		} else {
			j.conv.Conv8.Rows(lo, hi)
		}
	case quant.Depthwise:
		j.dw.Rows(lo, hi)
	case quant.Add:
		kernel.Add8(j.y[lo*c:hi*c], j.x[lo*c:hi*c], j.res[lo*c:hi*c], o.affine)
	default:
		for lo < hi {
			i := lo / o.rows
			n := min(hi-lo, (i+1)*o.rows-lo)
			j.image(i, lo-i*o.rows, n)
			lo += n
		}
	}
}

// image computes n units from lo on of image i.
func (j *job8) image(i, lo, n int) {
	o, c := j.op, j.op.in.C
	x, y := j.x[i*o.in.Size():(i+1)*o.in.Size()], j.y[i*o.out.Size():(i+1)*o.out.Size()]
	switch o.kind {
	case quant.MaxPool:
		kernel.MaxPool8(o.gather, y, x, c, lo, lo+n)
	case quant.AvgPool:
		kernel.AvgPool8(o.gather, y, x, c, lo, lo+n)
	case quant.GlobalPool:
		kernel.MeanPool8(y, x, o.in.Pixels(), c, o.x, o.scale, o.zero)
	case quant.Mul:
		kernel.Gate8(y[lo*c:], x[lo*c:], j.res[i*c:(i+1)*c], n, o.x, o.res, o.scale, o.zero)
	}
}
