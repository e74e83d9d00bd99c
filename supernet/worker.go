package supernet

import (
	"fmt"

	"weft/kernel"
	"weft/nn"
	"weft/tensor"
)

// Worker runs plans one at a time with its own pool of threads and its own memory for
// activations. Running a plan allocates nothing once the memory has grown to the largest
// batch seen. A Worker is not safe for concurrent use.
type Worker struct {
	pool  *kernel.Pool
	arena []float32
	zero  []float32
	one   []float32
	task  planTask
}

// NewWorker returns a worker on the pool.
func NewWorker(pool *kernel.Pool) *Worker { return &Worker{pool: pool} }

// Reserve grows the worker's memory for n images of the plan, so that Run does not.
func (w *Worker) Reserve(p *Plan, n int) {
	need := p.scratch
	for _, s := range p.slots {
		need += s
	}
	if need *= n; len(w.arena) < need {
		w.arena = tensor.Floats(need)
	}
	for i := range p.steps {
		if c := p.steps[i].inC; len(w.zero) < c {
			w.zero, w.one = make([]float32, c), make([]float32, c)
			for i := range w.one {
				w.one[i] = 1
			}
		}
	}
}

// Run computes the logits of n images, [n][Classes], from images [n][H][W][C] of
// pixel/255. It panics when a slice is too short.
func (w *Worker) Run(p *Plan, images []float32, n int, logits []float32) {
	if size := n * p.Input.Size(); len(images) < size || len(logits) < n*p.Classes {
		panic(fmt.Sprintf("supernet: %d values and room for %d logits do not fit %d images of %v", len(images), len(logits), n, p.Input))
	}
	w.Reserve(p, n)
	w.normalise(p, images, n)
	for i := range p.steps {
		w.step(p, &p.steps[i], n)
	}
	z := w.slot(p, p.logits, n)
	for i := range n {
		copy(logits[i*p.Classes:(i+1)*p.Classes], z[i*p.pitch:])
	}
}

// slot returns the memory of a slot for n images.
func (w *Worker) slot(p *Plan, i, n int) []float32 {
	off := 0
	for _, s := range p.slots[:i] {
		off += s
	}
	return w.arena[off*n : (off+p.slots[i])*n]
}

// normalise writes (pixel/255 − mean)/std into the input slot.
func (w *Worker) normalise(p *Plan, images []float32, n int) {
	x := w.slot(p, p.steps[0].in, n)
	c := p.Input.C
	for ch := range c {
		mean, inv := p.mean[ch], 1/p.std[ch]
		for i := ch; i < n*p.Input.Size(); i += c {
			x[i] = (images[i] - mean) * inv
		}
	}
}

// planTask is the part of a step that one call of the pool spreads over the threads.
type planTask struct {
	kind  nn.Kind
	conv  kernel.Conv
	dw    kernel.Depthwise
	rows  int
	chunk int
}

// Do runs one chunk of rows.
func (t *planTask) Do(i, _ int) {
	lo, hi := i*t.chunk, min(t.rows, (i+1)*t.chunk)
	if t.kind == nn.Depthwise {
		t.dw.Rows(lo, hi)
	} else {
		t.conv.Rows(lo, hi)
	}
}

func (w *Worker) step(p *Plan, s *call, n int) {
	x, y := w.slot(p, s.in, n), w.slot(p, s.out, n)
	var res []float32
	if s.res >= 0 {
		res = w.slot(p, s.res, n)
	}
	t := &w.task
	t.kind, t.rows, t.chunk = s.kind, n*s.rows, s.chunk
	switch s.kind {
	case nn.Conv, nn.FC:
		t.conv = s.conv
		t.conv.X, t.conv.Y, t.conv.Res = x, y, res
		w.spread()
	case nn.Depthwise:
		t.dw = s.dw
		t.dw.X, t.dw.Y, t.dw.Res = x, y, res
		w.spread()
	case nn.SE:
		w.squeeze(p, s, x, y, n)
	case nn.GlobalPool:
		w.mean(s, x, y, n)
	case nn.Add:
		kernel.ScaleShift(y, x, res, n*s.rows, s.outC, w.one[:s.outC], w.zero[:s.outC], s.conv.Act)
	default:
		in, out := s.inPix*s.inC, s.rows*s.outC
		for i := range n {
			if s.kind == nn.MaxPool {
				kernel.MaxPool(s.gather, x[i*in:(i+1)*in], y[i*out:(i+1)*out], nil, s.inC)
			} else {
				kernel.AvgPool(s.gather, x[i*in:(i+1)*in], y[i*out:(i+1)*out], s.inC)
			}
		}
	}
}

// spread runs the task on the pool, or at once when it is a single chunk.
func (w *Worker) spread() {
	t := &w.task
	if w.pool.Threads() == 1 || t.rows <= t.chunk {
		t.chunk = t.rows
		t.Do(0, 0)
		return
	}
	w.pool.Run((t.rows+t.chunk-1)/t.chunk, t)
}

func (w *Worker) mean(s *call, x, y []float32, n int) {
	in, c := s.inPix*s.inC, s.inC
	for i := range n {
		kernel.MeanPool(x[i*in:(i+1)*in], y[i*c:(i+1)*c], s.inPix, c)
	}
}

func (w *Worker) squeeze(p *Plan, s *call, x, y []float32, n int) {
	c, h := s.inC, s.conv.Cout
	scratch := w.arena[len(w.arena)-p.scratch*n:]
	pooled, gate, hid := scratch[:n*c], scratch[n*c:2*n*c], scratch[2*n*c:2*n*c+n*h]
	w.mean(s, x, pooled, n)
	s1, s2 := s.conv, s.second
	s1.X, s1.Y, s2.X, s2.Y = pooled, hid, hid, gate
	s1.Rows(0, n)
	s2.Rows(0, n)
	size := s.inPix * c
	for i := range n {
		kernel.ScaleShift(y[i*size:(i+1)*size], x[i*size:(i+1)*size], nil, s.inPix, c, gate[i*c:(i+1)*c], w.zero[:c], kernel.Linear)
	}
}
