package supernet

import (
	"weft/kernel"
	"weft/nn"
)

// parts is how a job is cut: into blocks of rows and panels. It follows from shapes alone,
// for the last bits of what a kernel computes may depend on the range that it is given.
type parts struct {
	rows, panels int // of the job
	high, wide   int // rows and panels of a part
	across       int // parts side by side
	n            int // parts in all
}

const (
	// leastPart is the shortest work in ns worth handing to another thread, which costs
	// about 0.2 µs when that thread is awake, and the transfer of what it reads and writes.
	leastPart = 2_000
	// mostParts is into how many parts a job is cut at most: several a thread, so that one
	// that is held up leaves some to the others. Short jobs are cut less.
	mostParts = 8
	// manyWeights is how many weights are worth reading once rather than once a thread.
	manyWeights = 64 << 10
	// partRows and partPanels are what rows and panels of a part are multiples of, so that
	// parts consist of whole tiles of the kernels.
	partRows, partPanels = 12, 2
)

// cut returns the parts of a job. Weights that outweigh the inputs are shared out rather
// than the rows, so that each thread reads a part of them.
func (j *job) cut() parts {
	p := parts{across: 1, n: 1}
	p.rows, p.panels = j.size()
	p.high, p.wide = p.rows, p.panels
	want := 1
	for ns := j.nanoseconds(); ns >= 2*leastPart && want < mostParts; ns /= 4 {
		want *= 2
	}
	if want == 1 {
		return p
	}
	heavy := j.op.weights() > max(manyWeights, j.images*j.op.in.Size())
	if p.panels > partPanels && (heavy || p.rows < 2*partRows) {
		p.wide = roundUp((p.panels+want-1)/want, partPanels)
		p.across = (p.panels + p.wide - 1) / p.wide
		want /= p.across
	}
	if want > 1 {
		p.high = (p.rows + want - 1) / want
		if whole := j.wholeRows(); p.rows >= 2*whole {
			p.high = roundUp(p.high, whole)
		}
	}
	p.n = p.across * ((p.rows + p.high - 1) / p.high)
	return p
}

// wholeRows is what the rows of a part should be a multiple of: tiles of the kernels, and
// lines of an image where neighbours share inputs.
func (j *job) wholeRows() int {
	switch {
	case j.asTiles():
		return j.op.wino.Step() / 2
	case j.op.kind == nn.Depthwise:
		return j.op.out.W
	default:
		return partRows
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// part runs part i.
func (j *job) part(p *parts, i int, t *tool) {
	row, panel := i/p.across*p.high, i%p.across*p.wide
	j.run(t, row, min(p.rows, row+p.high), panel, min(p.panels, panel+p.wide))
}

// split is a job in parts, the task by which threads share one operation.
type split struct {
	job
	parts parts
	tools []tool
}

// Do runs one part.
func (s *split) Do(i, thread int) { s.part(&s.parts, i, &s.tools[thread]) }

// together runs a job on all threads.
func (w *Worker) together(j *job) {
	s := &w.job
	s.job, s.tools = *j, w.tools
	s.parts = j.cut()
	w.pool.Run(s.parts.n, s)
}

// alone runs a job on one thread: part by part if the kernel's last bits depend on the
// range, which those of direct convolutions do.
func (w *Worker) alone(j *job, thread int) {
	if !j.isDense() {
		rows, panels := j.size()
		j.run(&w.tools[thread], 0, rows, 0, panels)
		return
	}
	p := j.cut()
	for i := range p.n {
		j.part(&p, i, &w.tools[thread])
	}
}

// isDense reports whether the job runs kernel.Conv.
func (j *job) isDense() bool {
	switch j.op.kind {
	case nn.Conv:
		return !j.asTiles()
	case nn.SE:
		return j.phase == squeeze || j.phase == excite
	default:
		return j.op.kind == nn.FC
	}
}

// nanoseconds estimates how long the job takes on one thread.
func (j *job) nanoseconds() int {
	const ( // an ns
		denseMACs = 45
		tileMACs  = 110
		slideMACs = 25
		floats    = 6
	)
	o := j.op
	switch {
	case j.asTiles():
		return j.images * o.macs / tileMACs
	case o.kind == nn.Conv || o.kind == nn.FC:
		return j.images * o.macs / denseMACs
	case o.kind == nn.Depthwise:
		return j.images * o.macs / slideMACs
	case j.phase == squeeze:
		return j.images * o.conv.Cin * o.conv.Cout / denseMACs
	case j.phase == excite:
		return j.images * o.second.Cin * o.second.Cout / denseMACs
	case j.phase == mean:
		return 0
	default:
		return j.images * o.in.Size() / floats
	}
}

var _ kernel.Task = (*split)(nil)
