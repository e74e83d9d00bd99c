package supernet

import (
	"math"

	"weft/nn"
)

// What groups goes by: the sizes of caches, and what moving a byte costs in ns from the
// level-3 cache and from memory. They are those of common server cores; a plan made with
// others computes the same as long as groups are the same.
const (
	nearBytes = 640 << 10 // most of a level-2 cache
	farBytes  = 8 << 20   // a thread's part of a level-3 cache
	farCost   = 1.0 / 40
	distant   = 1.0 / 16
)

// Memory that a worker holds counts as well. No operation's inputs and outputs take more
// than groupBytes in a group of several images, and a segment may begin only where that
// saves several times what moving the values that cross its start costs.
const (
	groupBytes = 6 << 20
	crossCost  = 8 * distant
)

// groupSizes are the numbers of images that a group may have.
var groupSizes = [...]int{1, 2, 4, 8, 16, 32}

// groups returns how many images each operation should take at a time, never less than the
// one before it. A large group reads the weights less often, a small one keeps its
// activations in the cache: of all ways through the network it finds the one that moves the
// least (shortest path, an operation and a size of group being a node).
func groups(g *nn.Graph) []int {
	const n = len(groupSizes)
	cost := [n]float64{}
	from := make([][n]int, len(g.Ops))
	crossing := crossings(g)
	for i := range g.Ops {
		best, at := cost[0], 0
		var next [n]float64
		o := &g.Ops[i]
		room := groupBytes / (4 * (g.Values[o.In].Size() + g.Values[o.Out].Size()))
		for s, size := range groupSizes {
			if cost[s] < best {
				best, at = cost[s], s
			}
			next[s], from[i][s] = cost[s], s
			if c := best + crossCost*crossing[i]; at != s && c < cost[s] {
				next[s], from[i][s] = c, at
			}
			if next[s] += moved(g, o, size); size > max(1, room) {
				next[s] = math.Inf(1)
			}
		}
		cost = next
	}
	at := 0
	for s := range cost {
		if cost[s] < cost[at] {
			at = s
		}
	}
	sizes := make([]int, len(g.Ops))
	for i := len(sizes) - 1; i >= 0; i-- {
		sizes[i] = groupSizes[at]
		at = from[i][at]
	}
	return sizes
}

// crossings returns for each operation the bytes of an image's values that live from before
// it until after it began: what has to be kept if a segment starts there.
func crossings(g *nn.Graph) []float64 {
	bytes := make([]float64, len(g.Ops))
	for _, l := range lives(g) {
		for i := l.from + 1; i <= l.to; i++ {
			bytes[i] += 4 * float64(g.Values[l.value].Size())
		}
	}
	return bytes
}

// moved estimates the time in ns that an operation spends on moving weights and
// activations, an image, in groups of so many.
func moved(g *nn.Graph, o *nn.Op, size int) float64 {
	floats := g.Values[o.In].Size() + g.Values[o.Out].Size()
	if o.Res >= 0 {
		floats += g.Values[o.Res].Size()
	}
	bytes := 4 * float64(floats)
	weights := 4 * float64(g.OpMACs(o))
	if o.Kind != nn.SE {
		weights /= float64(g.Values[o.Out].Pixels())
	}
	ns := weights * distant / float64(size)
	switch total := bytes * float64(size); {
	case total > farBytes:
		ns += bytes * distant
	case total > nearBytes:
		ns += bytes * farCost
	}
	return ns
}
