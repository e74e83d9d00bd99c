package supernet

import (
	"math"
	"slices"
	"unsafe"

	"weft/nn"
)

// place is where a value lies in a worker's memory, in lines of 16 floats an image: from 0
// on within what a segment has for itself, below 0 (^place) within what segments share.
type place int32

// nowhere is the place of a residual that does not exist.
const nowhere = place(math.MinInt32)

// line is the number of floats in a cache line, the unit of places.
const line = 16

// lines rounds up to whole cache lines.
func lines(floats int) int { return (floats + line - 1) / line }

// segment is a run of steps that a thread takes a group of images through before the next
// group, so that activations stay in its cache between the steps.
type segment struct {
	from, to int // of Plan.steps
	group    int // images
	private  int // lines an image
	scratch  int // lines an image, behind the private ones
}

// arrange cuts the plan into segments and gives every value a place.
func (p *Plan) arrange(g *nn.Graph) {
	segmentOf := make([]int, len(g.Ops))
	for i, n := range groups(g) {
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
		if o := &g.Ops[i]; (o.Kind == nn.SE || o.Kind == nn.Add) && l[o.In].to == i && o.In != 0 {
			l[o.Out].same = o.In
		}
	}
	return l
}

// place gives every value its place: in its segment's own memory, or in that which the
// segments share when another one reads it.
func (p *Plan) place(g *nn.Graph, segmentOf []int) {
	all := lives(g)
	at := make([]place, len(g.Values))
	home := func(l life) int { return segmentOf[max(l.from, 0)] }
	crosses := func(l life) bool { return segmentOf[l.to] != home(l) }
	for s := range p.segments {
		var own heap
		for _, l := range all {
			if home(l) == s && !crosses(l) {
				if l.same >= 0 && !crosses(all[l.same]) && home(all[l.same]) == s {
					at[l.value] = at[l.same]
					own.keep(int(at[l.same]), l.to)
					continue
				}
				at[l.value] = place(own.take(l.from, l.to, valueLines(g, l.value)))
			}
		}
		p.segments[s].private = own.size
	}
	var common heap
	for _, l := range all {
		if crosses(l) {
			at[l.value] = ^place(common.take(home(l), segmentOf[l.to], valueLines(g, l.value)))
		}
	}
	p.shared = common.size
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

// heap hands out memory whose times of use are known.
type heap struct {
	blocks []block
	size   int // in lines
}

// block is memory in use until after time to.
type block struct{ at, n, to int }

// take returns the lowest place with n free lines from time from to time to. Whoever reads
// a value at time from still needs it while the new one is written.
func (h *heap) take(from, to, n int) int {
	h.blocks = slices.DeleteFunc(h.blocks, func(b block) bool { return b.to < from })
	at, i := 0, 0
	for ; i < len(h.blocks) && h.blocks[i].at < at+n; i++ {
		at = h.blocks[i].at + h.blocks[i].n
	}
	h.blocks = slices.Insert(h.blocks, i, block{at, n, to})
	h.size = max(h.size, at+n)
	return at
}

// keep makes the block at a place last until time to.
func (h *heap) keep(at, to int) {
	for i := range h.blocks {
		if h.blocks[i].at == at {
			h.blocks[i].to = to
		}
	}
}

// bytes returns the memory that the plan takes for itself.
func (p *Plan) bytes() int {
	return int(unsafe.Sizeof(*p)) + cap(p.steps)*int(unsafe.Sizeof(call{})) + cap(p.segments)*int(unsafe.Sizeof(segment{}))
}
