package supernet

import "weft/quant"

// segment8 is a run of steps of an int8 plan that a group of images is taken through before
// the next group. The first of two keeps the activations of a group in a cache; the second,
// where activations are small and weights large, reads the weights seldom.
type segment8 struct {
	from, to int // of plan8.steps
	group    int // images
	lines    int // an image
}

// place8 is where a thread keeps a value, in lines of an image.
type place8 int

const (
	nowhere8 place8 = -1 - iota
	passed8         // with what the second segment takes over from the first
)

// line8 is the number of bytes in a line of memory for values.
const line8 = 64

// A group's activations take no more than near8 bytes, a second-level cache, or if weights
// are to be read seldom than far8 bytes, a part of a third-level cache.
const (
	near8     = 512 << 10
	far8      = 4 << 20
	maxGroup8 = 32
	farGroup8 = 8
)

// values8 are the values of a network and the memory that they need: blocks of lines with
// the operations between which they live.
type values8 struct {
	n       *quant.Network
	heap    heap
	value   []int // block of each value
	columns []int // block of each operation's columns, if it has them
}

// newValues8 lists the values; logits have none, being floats.
func newValues8(n *quant.Network, steps []step8) *values8 {
	v := &values8{n: n, value: make([]int, len(n.Values)), columns: make([]int, len(n.Ops))}
	take := func(at, bytes int) int {
		v.heap = append(v.heap, block{from: at, to: at, n: (bytes + line8 - 1) / line8})
		return len(v.heap) - 1
	}
	v.value[0] = take(-1, n.Values[0].Size())
	for i := range n.Ops {
		o := &n.Ops[i]
		v.heap[v.value[o.In]].to = i
		if o.Res >= 0 {
			v.heap[v.value[o.Res]].to = i
		}
		if c := steps[i].op.columns; c != nil {
			v.columns[i] = take(i, c.size)
		}
		if o.Kind != quant.FC {
			v.value[o.Out] = take(i, n.Values[o.Out].Size())
		}
	}
	return v
}

// alive returns the blocks that live from before operation i until after it began, and the
// lines of all that it needs.
func (v *values8) alive(i int) (crossing []int, lines int) {
	for k, b := range v.heap {
		if b.from <= i && i <= b.to {
			lines += b.n
			if b.from < i {
				crossing = append(crossing, k)
			}
		}
	}
	return crossing, lines
}

// cut returns the first operation that begins a second segment: all that follows takes
// little memory, and a single block crosses. Without one it returns 0.
func (v *values8) cut() (at, block int) {
	for i := len(v.n.Ops) - 1; i > 0; i-- {
		crossing, lines := v.alive(i)
		if lines*line8*farGroup8 > far8 {
			break
		}
		if len(crossing) == 1 {
			at, block = i, crossing[0]
		}
	}
	return at, block
}

// groupOf8 returns how many images of so many lines stay near.
func groupOf8(lines int) int { return min(max(near8/(max(lines, 1)*line8), 1), maxGroup8) }

// arrange cuts the plan into segments and gives every value its place.
func (q *plan8) arrange(n *quant.Network) {
	v := newValues8(n, q.steps)
	all := len(n.Ops)
	cut, crossing := v.cut()
	places := make([]place8, len(v.heap))
	lines := v.pack(places, 0, all, -1)
	q.segments = []segment8{{0, all, groupOf8(lines), lines}}
	if cut > 0 && q.segments[0].group < farGroup8 {
		first, second := v.pack(places, 0, cut, crossing), v.pack(places, cut, all, crossing)
		places[crossing] = passed8
		q.passed = v.heap[crossing].n * line8
		q.segments = []segment8{{0, cut, groupOf8(first), first}, {cut, all, farGroup8, second}}
	}
	q.input = places[v.value[0]]
	for i := range n.Ops {
		o, s := &n.Ops[i], &q.steps[i]
		s.in = places[v.value[o.In]]
		if o.Kind == quant.FC {
			q.logits = s.op.conv.Cout
		} else {
			s.out = places[v.value[o.Out]]
		}
		switch {
		case s.op.columns != nil:
			s.res = places[v.columns[i]]
		case o.Res >= 0:
			s.res = places[v.value[o.Res]]
		}
	}
}

// pack gives places to the blocks that operations [from, to) use, but one, and returns how
// many lines they take.
func (v *values8) pack(places []place8, from, to, but int) int {
	var h heap
	var of []int
	for k, b := range v.heap {
		if k != but && b.from < to && b.to >= from {
			h, of = append(h, b), append(of, k)
		}
	}
	lines := h.pack()
	for i, k := range of {
		places[k] = place8(h[i].at)
	}
	return lines
}
