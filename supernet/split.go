package supernet

import (
	"weft/kernel"
	"weft/nn"
)

// parts is how a job is cut: into blocks of rows and panels. It follows from shapes alone,
// for the last bits of what a kernel computes may depend on the range that it is given.
type parts struct {
	rows, panels stripes
}

// n returns the number of parts.
func (p *parts) n() int { return p.rows.n * p.panels.n }

// stripes are n parts of about the same size, in multiples of unit.
type stripes struct{ size, unit, n int }

// stripe returns where part i begins and ends.
func (s *stripes) stripe(i int) (lo, hi int) {
	units := (s.size + s.unit - 1) / s.unit
	return i * units / s.n * s.unit, min(s.size, (i+1)*units/s.n*s.unit)
}

const (
	// leastPart is the shortest work in ns worth handing to another thread, which costs
	// about 0.1 µs when that thread is awake, and the transfer of what it reads and writes.
	leastPart = 1_000
	// mostParts is into how many parts a job is cut at most: several a thread, so that one
	// that is held up leaves some to the others. Short jobs are cut less.
	mostParts = 8
	// manyWeights is how many weights are worth reading once rather than once a thread.
	manyWeights = 64 << 10
	// leastRows and leastTiles are how many of them keep a kernel busy.
	leastRows, leastTiles = 12, 6
)

// cut returns the parts of a job, a power of two. Weights that outweigh the inputs are
// shared out rather than the rows, so that each thread reads a part of them.
func (j *job) cut() parts {
	rows, panels := j.size()
	unit, least := j.units()
	p := parts{stripes{rows, unit, 1}, stripes{panels, 1, 1}}
	want := 1
	for ns := j.nanoseconds(); ns >= 2*leastPart && want < mostParts; ns /= 8 {
		want *= 2
	}
	down := 1
	for down < want && rows >= 2*down*least {
		down *= 2
	}
	if heavy := j.op.weights() > max(manyWeights, j.images*j.op.in.Size()); !heavy {
		p.rows.n, want = down, want/down
	}
	for want > 1 && panels >= 2*p.panels.n {
		p.panels.n, want = 2*p.panels.n, want/2
	}
	if pairs := panels / 2; pairs%2 == 0 && pairs >= p.panels.n {
		p.panels.unit = 2
	}
	p.rows.n = max(p.rows.n, min(down, want))
	return p
}

// units returns what the rows of a part should be a multiple of, lines of an image where
// neighbours share inputs, and how many it should have at least.
func (j *job) units() (unit, least int) {
	switch {
	case j.op.kind == nn.Depthwise:
		return j.op.out.W, j.op.out.W
	case j.isDense():
		return 1, leastRows
	case j.asTiles():
		return 1, leastTiles
	default:
		return 1, 1
	}
}

// part runs part i.
func (j *job) part(p *parts, i int, t *tool) {
	lo, hi := p.rows.stripe(i / p.panels.n)
	from, to := p.panels.stripe(i % p.panels.n)
	j.run(t, lo, hi, from, to)
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
	w.pool.Run(s.parts.n(), s)
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
	for i := range p.n() {
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
		weights   = 10 // that come from far away
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
		n := o.conv.Cin * o.conv.Cout
		return max(j.images*n/denseMACs, n/weights)
	case j.phase == excite:
		n := o.second.Cin * o.second.Cout
		return max(j.images*n/denseMACs, n/weights)
	case j.phase == mean:
		return 0
	default:
		return j.images * o.in.Size() / floats
	}
}

var _ kernel.Task = (*split)(nil)
