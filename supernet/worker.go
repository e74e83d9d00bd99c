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
// A plan runs segment by segment. Where there are groups of images for all threads, each
// takes some through the whole segment by itself, in memory of its own that its cache
// holds; the groups that are left over are worked on by all threads together, operation by
// operation. Results are the same bits either way.
type Worker struct {
	pool   *kernel.Pool
	shared []float32   // values that cross segments
	arenas [][]float32 // one a thread
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
	w.shared = grow(w.shared, p.shared*n)
	for i := range w.tools {
		w.tools[i].scratch = grow(w.tools[i].scratch, p.tiles)
		w.tools[i].widened = grow(w.tools[i].widened, p.widened)
	}
	for i := range p.segments {
		s := &p.segments[i]
		group := min(s.group, n)
		for th := range min(len(w.arenas), (n+group-1)/group) {
			w.arenas[th] = grow(w.arenas[th], (s.private+s.scratch)*group)
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
	n := 4 * len(w.shared)
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
	w       *Worker
	p       *Plan
	segment *segment
	n       int
	images  []float32
	logits  []float32
	timing  timing
}

// Run computes the logits of n images, [n][Classes], from images [n][H][W][C] of
// pixel/255. It panics when a slice is too short.
func (w *Worker) Run(p *Plan, images []float32, n int, logits []float32) {
	if size := n * p.Input.Size(); len(images) < size || len(logits) < n*p.Classes {
		panic(fmt.Sprintf("supernet: %d values and room for %d logits do not fit %d images of %v", len(images), len(logits), n, p.Input))
	}
	if p.int8 != nil {
		w.run8(p, images, n, logits)
		return
	}
	w.Reserve(p, n)
	w.run = run{w: w, p: p, n: n, images: images, logits: logits}
	for i := range p.segments {
		w.segment(&p.segments[i], n)
	}
}

// segment takes n images through a segment. Groups that all threads have one of run each
// on a thread; those that are left over run one after another on all.
func (w *Worker) segment(s *segment, n int) {
	r := &w.run
	r.segment = s
	threads, groups := w.pool.Threads(), (n+s.group-1)/s.group
	alone := groups / threads * threads
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
	lo := i * s.group
	n := min(s.group, r.n-lo)
	arena := r.w.arenas[thread]
	j := job{images: n, scratch: arena[s.private*n*line:][:s.scratch*n*line]}
	r.timing.start()
	if s.from == 0 {
		j.op, j.x, j.y = p.first, r.images[lo*p.Input.Size():], r.at(arena, p.input, n, lo, p.Input.Size())
		r.phase(&j, thread, together)
		r.timing.lap(0)
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
		r.timing.lap(i + 1)
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
	return r.w.shared[int(^v)*r.n*line+lo*size:]
}

func (r *run) phase(j *job, thread int, together bool) {
	if together {
		r.w.together(j)
	} else {
		r.w.alone(j, thread)
	}
}
