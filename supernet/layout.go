package supernet

import (
	"math"
	"slices"
	"unsafe"

	"weft/nn"
)

// place is where a value lies in a worker's memory, in lines of 16 floats an image: from 0
// on within what a segment has for itself, else within what a segment gets from those
// before it.
type place int32

// A place that is not from 0 on has a segment and lines in its complement.
const (
	segmentShift = 28
	lineMask     = 1<<segmentShift - 1
)

// nowhere is the place of a residual that does not exist.
const nowhere = place(math.MinInt32)

// line is the number of floats in a cache line, the unit of places.
const line = 16

// lines rounds up to whole cache lines.
func lines(floats int) int { return (floats + line - 1) / line }

// segment is a run of steps that a group of images is taken through before the next group,
// so that activations stay in a cache between the steps.
type segment struct {
	from, to int // of Plan.steps
	group    int // images
	private  int // lines an image
	scratch  int // lines an image, behind the private ones
	received int // lines an image of values that segments before it leave to it, and none after it
}

// aloneBytes is the most memory of a group that a thread may take through a segment by
// itself. All threads work on larger ones together, in one thread's memory: what is larger
// than a second-level cache is in one that threads share, and there one group is enough.
const aloneBytes = 2 << 20

// alone reports whether each thread takes groups of its own.
func (s *segment) alone() bool { return s.lines()*s.group*line*4 <= aloneBytes }

// lines returns how many an image takes.
func (s *segment) lines() int { return s.private + s.scratch }

// arrange cuts the plan into segments by how many images each operation takes at a time
// and gives every value a place.
func (p *Plan) arrange(g *nn.Graph, groups []int) {
	p.segments = nil
	segmentOf := make([]int, len(g.Ops))
	for i, n := range groups {
		if i == 0 || n != p.segments[len(p.segments)-1].group {
			p.segments = append(p.segments, segment{from: i, group: n})
		}
		last := len(p.segments) - 1
		p.segments[last].to = i + 1
		p.segments[last].scratch = max(p.segments[last].scratch, lines(p.steps[i].op.scratch()))
		segmentOf[i] = last
	}
	p.segments = slices.Clip(p.segments)
	p.place(g, segmentOf)
}

// life is when a value is needed: from the operation that writes it (−1 for the pixels) to
// the last that reads it.
type life struct {
	value, from, to int
	same            int // value whose memory it takes over, or −1
}

// lives returns those of all values in the order in which they are written.
func lives(g *nn.Graph) []life {
	l := make([]life, len(g.Values))
	l[0] = life{from: -1, same: -1}
	for i := range g.Ops {
		o := &g.Ops[i]
		l[o.Out] = life{value: o.Out, from: i, to: i, same: -1}
		l[o.In].to = i
		if o.Res >= 0 {
			l[o.Res].to = i
		}
	}
	l[g.Output()].to = len(g.Ops) - 1
	for i := range g.Ops {
		o := &g.Ops[i]
		switch inPlace := o.Kind == nn.SE || o.Kind == nn.Add; {
		case inPlace && o.In != 0 && l[o.In].to == i:
			l[o.Out].same = o.In
		case o.Res > 0 && o.Res != o.In && l[o.Res].to == i:
			l[o.Out].same = o.Res
		}
	}
	return l
}

// place gives every value its place: in its segment's own memory, or with the last segment
// that reads it.
func (p *Plan) place(g *nn.Graph, segmentOf []int) {
	all := lives(g)
	at := make([]place, len(g.Values))
	home := func(l life) int { return segmentOf[max(l.from, 0)] }
	crosses := func(l life) bool { return segmentOf[l.to] != home(l) }
	for s := range p.segments {
		var own heap
		blocks := make([]int, len(all)) // of values
		for _, l := range all {
			switch {
			case home(l) != s || crosses(l):
			case l.same >= 0 && home(all[l.same]) == s && !crosses(all[l.same]):
				blocks[l.value] = blocks[l.same]
				own[blocks[l.value]].to = l.to
			default:
				blocks[l.value] = len(own)
				own = append(own, block{from: l.from, to: l.to, n: valueLines(g, l.value)})
			}
		}
		p.segments[s].private = own.pack()
		for _, l := range all {
			if home(l) == s && !crosses(l) {
				at[l.value] = place(own[blocks[l.value]].at)
			}
		}
	}
	for _, l := range all {
		if crosses(l) {
			last := &p.segments[segmentOf[l.to]]
			at[l.value] = ^place(segmentOf[l.to]<<segmentShift | last.received)
			last.received += valueLines(g, l.value)
		}
	}
	p.input, p.logits = at[0], at[g.Output()]
	for i := range g.Ops {
		o, s := &g.Ops[i], &p.steps[i]
		s.in, s.out, s.res = at[o.In], at[o.Out], nowhere
		if o.Res >= 0 {
			s.res = at[o.Res]
		}
	}
}

func valueLines(g *nn.Graph, v int) int {
	s := g.Values[v]
	return lines(s.Pixels() * pitch(s.C))
}

// heap is memory whose times of use are known.
type heap []block

// block is n lines in use from time from, when they are written, to time to, when they are
// read for the last time.
type block struct{ from, to, n, at int }

// pack gives each block a place among those of its time, the largest first, and returns
// how many lines they take in all.
func (h heap) pack() int {
	order := make([]int, len(h))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return h[j].n - h[i].n })
	size := 0
	var placed []block // by place
	for _, i := range order {
		b := &h[i]
		for _, p := range placed {
			if p.from <= b.to && b.from <= p.to && p.at < b.at+b.n {
				b.at = max(b.at, p.at+p.n)
			}
		}
		at, _ := slices.BinarySearchFunc(placed, b.at, func(p block, at int) int { return p.at - at })
		placed = slices.Insert(placed, at, *b)
		size = max(size, b.at+b.n)
	}
	return size
}

// bytes returns the memory that the plan takes for itself.
func (p *Plan) bytes() int {
	return int(unsafe.Sizeof(*p)) + cap(p.steps)*int(unsafe.Sizeof(call{})) + cap(p.segments)*int(unsafe.Sizeof(segment{}))
}
