package search

import (
	"weft/data"
	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// Int8 measures subnets in int8. It finds the ranges that they lack.
type Int8 struct {
	Ranges supernet.Ranges
	e      *Evaluator
	calib  [][]float32
	pool   *kernel.Pool
	table  *supernet.Int8
}

// Int8 returns an evaluator that shares e's statistics, starts with these ranges and finds
// what they lack, adding to them, on these batches of normalised training images.
func (e *Evaluator) Int8(ranges supernet.Ranges, calib [][]float32, pool *kernel.Pool) *Int8 {
	return &Int8{Ranges: ranges, e: e, calib: calib, pool: pool, table: supernet.NewInt8(e.Net, e.Norms, ranges)}
}

// Evaluate measures a subnet that e has statistics of, on a split.
func (q *Int8) Evaluate(a supernet.Arch, on data.Split) (Result, error) {
	return q.e.measure(a, on, func(*nn.Graph) (*supernet.Plan, error) {
		if _, err := q.Ranges.Add(q.e.Net, q.e.Norms, a, q.calib, q.pool); err != nil {
			return nil, err
		}
		return q.table.Plan(a)
	})
}
