package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"weft/nn"
	"weft/quant"
	"weft/safetensors"
	"weft/supernet"
)

// Int8Suffix follows the architecture in the name of a subnet that runs in int8.
const Int8Suffix = "@int8"

// Point is a subnet in one precision, as it can be served.
type Point struct {
	Subnet
	Int8 bool
}

// Name returns what requests, profiles and tables call the point.
func (p Point) Name() string {
	if p.Int8 {
		return p.Arch + Int8Suffix
	}
	return p.Arch
}

// Points returns everything that the bundle can serve, by rising accuracy.
func (b *Bundle) Points() []Point {
	points := make([]Point, 0, len(b.Subnets)+len(b.Int8))
	for _, s := range b.Subnets {
		points = append(points, Point{s, false})
	}
	for _, s := range b.Int8 {
		points = append(points, Point{s, true})
	}
	slices.SortStableFunc(points, func(p, q Point) int { return cmp.Compare(p.Accuracy, q.Accuracy) })
	return points
}

// Names of the tensors that hold the ranges of activations.
const (
	rangeKeys   = "int8.keys"   // I64 [entries]: nn.NormKey of values, bit for bit
	rangeCounts = "int8.counts" // I32 [entries]: ranges of each
	rangeEnds   = "int8.ranges" // F32 [sum of counts, 2]
)

// maxRanges is how many ranges one operation has at most.
const maxRanges = 4

// encodeRanges returns the tensors of the ranges, none if there are none.
func encodeRanges(ranges supernet.Ranges) ([]safetensors.Tensor, error) {
	if len(ranges) == 0 {
		return nil, nil
	}
	keys := slices.Sorted(maps.Keys(ranges))
	ids, counts := make([]int64, len(keys)), make([]int32, len(keys))
	var ends []float32
	for i, k := range keys {
		ids[i], counts[i] = int64(k), int32(len(ranges[k]))
		for _, r := range ranges[k] {
			if !r.Valid() {
				return nil, fmt.Errorf("range entry %d reaches from %v to %v", i, r.Lo, r.Hi)
			}
			ends = append(ends, r.Lo, r.Hi)
		}
	}
	return []safetensors.Tensor{
		safetensors.NewI64(rangeKeys, []int{len(ids)}, ids),
		safetensors.NewI32(rangeCounts, []int{len(counts)}, counts),
		safetensors.NewF32(rangeEnds, []int{len(ends) / 2, 2}, ends),
	}, nil
}

// decodeRanges returns the ranges of a file, nil if it has none.
func decodeRanges(tensors map[string]*safetensors.Tensor) (supernet.Ranges, error) {
	if tensors[rangeKeys] == nil && tensors[rangeCounts] == nil && tensors[rangeEnds] == nil {
		return nil, nil
	}
	for _, name := range []string{rangeKeys, rangeCounts, rangeEnds} {
		if tensors[name] == nil {
			return nil, fmt.Errorf("tensor %s is missing; write the bundle again with weft quantise", name)
		}
	}
	keys, err := tensors[rangeKeys].I64()
	if err != nil {
		return nil, err
	}
	counts, err := tensors[rangeCounts].I32()
	if err != nil {
		return nil, err
	}
	ends, err := tensors[rangeEnds].F32()
	if err != nil {
		return nil, err
	}
	if len(keys) != len(counts) {
		return nil, fmt.Errorf("the int8 ranges have %d keys for %d entries; the bundle is damaged", len(keys), len(counts))
	}
	ranges := make(supernet.Ranges, len(keys))
	for i, k := range keys {
		n := int(counts[i])
		if n < 1 || n > maxRanges || 2*n > len(ends) {
			return nil, fmt.Errorf("int8 range entry %d has %d ranges and %d values are left; the bundle is damaged", i, n, len(ends))
		}
		if _, twice := ranges[nn.NormKey(k)]; twice {
			return nil, fmt.Errorf("int8 range entry %d has the key of another one; the bundle is damaged", i)
		}
		rs := make([]quant.Range, n)
		for j := range rs {
			rs[j] = quant.Range{Lo: ends[2*j], Hi: ends[2*j+1]}
			if !rs[j].Valid() {
				return nil, fmt.Errorf("int8 range entry %d reaches from %v to %v; the bundle is damaged", i, rs[j].Lo, rs[j].Hi)
			}
		}
		ranges[nn.NormKey(k)], ends = rs, ends[2*n:]
	}
	if len(ends) != 0 {
		return nil, errors.New("int8 ranges are left that belong to no entry; the bundle is damaged")
	}
	return ranges, nil
}

// checkInt8 makes sure that every subnet that is served in int8 has its ranges.
func (b *Bundle) checkInt8() error {
	if err := b.checkSubnets(b.Int8); err != nil {
		return err
	}
	for _, s := range b.Int8 {
		a, err := b.Net.Space.Parse(s.Arch)
		if err != nil {
			return err
		}
		if err := b.Ranges.Check(b.Net.Space, a); err != nil {
			return fmt.Errorf("%w; write the bundle again with weft quantise", err)
		}
	}
	return nil
}
