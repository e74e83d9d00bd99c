package supernet

import (
	"fmt"

	"weft/kernel"
	"weft/tensor"
)

// Worker runs plans one at a time with its own pool of threads and its own memory for
// activations. Running a plan allocates nothing once the memory has grown to the largest
// batch seen. A Worker is not safe for concurrent use.
//
// A plan runs segment by segment, the first ones for no more images than the next one works
// on at a time. Where a group of images is small and there is one for each thread, each
// takes its own through the whole segment by itself, in memory that its cache holds; other
// groups are worked on by all threads together, operation by operation. Results are the
// same bits either way.
type Worker struct {
	pool   *kernel.Pool
	passed []float32   // values that cross segments
	arenas [][]float32 // one a thread; the first one is also that of all together
	tools  []tool
	run    run
	job    split
	int8   worker8
}

// NewWorker returns a worker on the pool.
func NewWorker(pool *kernel.Pool) *Worker {
	n := pool.Threads()
	return &Worker{pool: pool, arenas: make([][]float32, n), tools: make([]tool, n)}
}

// Reserve grows the worker's memory for batches of up to n images of the plan, so that Run
// does not.
func (w *Worker) Reserve(p *Plan, n int) {
	if p.int8 != nil {
		w.reserve8(p.int8, n)
		return
	}
	passed := 0
	for i := range p.segments {
		passed += p.segments[i].received * min(w.round(&p.segments[i]), n)
	}
	w.passed = grow(w.passed, passed)
	for i := range w.tools {
		w.tools[i].scratch = grow(w.tools[i].scratch, p.tiles)
		w.tools[i].widened = grow(w.tools[i].widened, p.widened)
	}
	for i := range p.segments {
		s := &p.segments[i]
		group := min(s.group, n)
		for th := range min(w.round(s)/s.group, (n+group-1)/group) {
			w.arenas[th] = grow(w.arenas[th], s.lines()*group)
		}
	}
}

// grow returns memory of so many lines, s itself if it is large enough.
func grow(s []float32, lines int) []float32 {
	if len(s) >= lines*line {
		return s
	}
	return tensor.Floats(lines * line)
}

// Bytes returns the memory for activations.
func (w *Worker) Bytes() int {
	n := 4 * len(w.passed)
	for _, a := range w.arenas {
		n += 4 * len(a)
	}
	for i := range w.tools {
		n += 4 * (len(w.tools[i].scratch) + len(w.tools[i].widened))
	}
	return n + w.int8.bytes()
}

// run is a batch on its way through a plan, and the task by which threads take groups of
// its images through a segment.
type run struct {
	w        *Worker
	p        *Plan
	segment  *segment
	lo, hi   int // images that are in the segment now
	received [len(groupSizes)]received
	images   []float32
	logits   []float32
	timing   timing
}

// received is what a segment gets from those before it, for n images from lo on.
type received struct {
	values []float32
	lo, n  int
}

// Run computes the logits of n images, [n][Classes], from images [n][H][W][C] of
// pixel/255. It panics when a slice is too short.
func (w *Worker) Run(p *Plan, images []float32, n int, logits []float32) {
	if size := n * p.Input.Size(); len(images) < size || len(logits) < n*p.Classes {
		panic(fmt.Sprintf("supernet: %d values and room for %d logits do not fit %d images of %v", len(images), len(logits), n, p.Input))
	}
	if p.int8 != nil {
		w.run8(p, images, n, logits, timing{})
		return
	}
	w.Reserve(p, n)
	w.start(p, images, n, logits, timing{})
}

// start takes n images through a plan for which there is memory.
func (w *Worker) start(p *Plan, images []float32, n int, logits []float32, t timing) {
	w.run = run{w: w, p: p, images: images, logits: logits, timing: t}
	from := 0
	for i := range p.segments {
		s := &p.segments[i]
		w.run.received[i].values = w.passed[from*line:]
		from += s.received * min(w.round(s), n)
	}
	w.upTo(len(p.segments)-1, 0, n)
}

// round returns how many images are in a segment at a time, at most.
func (w *Worker) round(s *segment) int {
	if s.alone() {
		return s.group * w.pool.Threads()
	}
	return s.group
}

// upTo takes the images [lo, hi) through the segments up to number i.
func (w *Worker) upTo(i, lo, hi int) {
	r := &w.run
	s := &r.p.segments[i]
	for round := w.round(s); lo < hi; lo += round {
		end := min(lo+round, hi)
		r.received[i].lo, r.received[i].n = lo, end-lo
		if i > 0 {
			w.upTo(i-1, lo, end)
		}
		r.segment, r.lo, r.hi = s, lo, end
		w.segment(s)
	}
}

// segment takes the images that are in a segment through it: a group on each thread, or
// one after another on all.
func (w *Worker) segment(s *segment) {
	r, threads := &w.run, w.pool.Threads()
	groups, alone := (r.hi-r.lo+s.group-1)/s.group, 0
	if groups == threads {
		alone = groups
	}
	w.pool.Run(alone, r)
	for i := alone; i < groups; i++ {
		r.through(0, i, true)
	}
}

// Do takes group i through the segment on one thread.
func (r *run) Do(i, thread int) { r.through(thread, i, false) }

// through takes group i of the images through the segment in the memory of a thread, with
// the help of all threads or by itself.
func (r *run) through(thread, i int, together bool) {
	s, p := r.segment, r.p
	lo := r.lo + i*s.group
	n := min(s.group, r.hi-lo)
	arena := r.w.arenas[thread]
	j := job{images: n, scratch: arena[s.private*n*line:][:s.scratch*n*line]}
	timing := r.timing
	if thread > 0 {
		timing.times = nil
	}
	timing.start()
	if s.from == 0 {
		j.op, j.x, j.y = p.first, r.images[lo*p.Input.Size():], r.at(arena, p.input, n, lo, p.Input.Size())
		r.phase(&j, thread, together)
		timing.lap(0)
	}
	for i := s.from; i < s.to; i++ {
		st := &p.steps[i]
		j.op, j.res = st.op, nil
		j.scale, j.shift = st.norm.affine(r.w.tools[thread].widened)
		j.x = r.at(arena, st.in, n, lo, st.op.inSize())
		j.y = r.at(arena, st.out, n, lo, st.op.outSize())
		if st.res != nowhere {
			j.res = r.at(arena, st.res, n, lo, st.op.outSize())
		}
		for j.phase = range st.op.phases() {
			r.phase(&j, thread, together)
		}
		timing.lap(i + 1)
	}
	if s.to == len(p.steps) {
		z, pitch := r.at(arena, p.logits, n, lo, 0), pitch(p.Classes)
		for i := range n {
			copy(r.logits[(lo+i)*p.Classes:(lo+i+1)*p.Classes], z[i*pitch:])
		}
	}
}

// at returns the memory of a value for the n images from lo on, of size floats each.
func (r *run) at(arena []float32, v place, n, lo, size int) []float32 {
	if v >= 0 {
		return arena[int(v)*n*line:]
	}
	c := &r.received[^v>>segmentShift]
	return c.values[int(^v&lineMask)*c.n*line+(lo-c.lo)*size:]
}

func (r *run) phase(j *job, thread int, together bool) {
	if together {
		r.w.together(j)
	} else {
		r.w.alone(j, thread)
	}
}
