package data

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// carve moves n images from all to a second split, class by class in proportion (largest remainders
// first), so that both see the same mixture. Every class keeps at least one image in rest. The choice
// depends on seed only, and both splits keep the order of all.
func carve(all Split, classes, n int, seed uint64) (rest, carved Split) {
	byClass := make([][]int, classes)
	for i, l := range all.Labels {
		byClass[l] = append(byClass[l], i)
	}
	var picked []int
	for c, k := range quotas(byClass, n) {
		rng := rand.New(rand.NewPCG(seed, uint64(c)))
		members := slices.Clone(byClass[c])
		rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		picked = append(picked, members[:k]...)
	}
	if len(picked) == 0 {
		return all, Split{}
	}
	slices.Sort(picked)
	kept := make([]int, 0, all.N()-len(picked))
	for i, next := 0, 0; i < all.N(); i++ {
		if next < len(picked) && picked[next] == i {
			next++
			continue
		}
		kept = append(kept, i)
	}
	return all.Subset(kept), all.Subset(picked)
}

// quotas divides n over the classes in proportion to their sizes, leaving one image in each.
func quotas(byClass [][]int, n int) []int {
	total := 0
	for _, m := range byClass {
		total += len(m)
	}
	out := make([]int, len(byClass))
	if total == 0 || n <= 0 {
		return out
	}
	order := make([]int, len(byClass)) // classes by falling remainder of n*len/total
	left := n
	for c, m := range byClass {
		order[c] = c
		out[c] = min(n*len(m)/total, max(len(m)-1, 0))
		left -= out[c]
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return n*len(byClass[b])%total - n*len(byClass[a])%total
	})
	for before := -1; left != before; { // again where classes that are too small leave some over
		before = left
		for _, c := range order {
			if left > 0 && out[c] < len(byClass[c])-1 {
				out[c]++
				left--
			}
		}
	}
	return out
}

// splitTrain carves the validation images that o asks for from the training images all.
func (o Options) splitTrain(all Split, classes int) (train, val Split, err error) {
	n := o.ValImages
	if n == 0 {
		n = max(min(5000, all.N()/10), 1)
	}
	if n >= all.N() {
		return train, val, fmt.Errorf("%d validation images can't be taken from %d training images: ask for fewer", n, all.N())
	}
	train, val = carve(all, classes, n, o.Seed)
	return train, val, nil
}
