package search

import (
	"fmt"

	"weft/data"
	"weft/kernel"
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
	r := Result{Arch: a}
	g, err := q.e.Net.Space.Lower(a)
	if err != nil {
		return r, err
	}
	if on.N() == 0 {
		return r, fmt.Errorf("no images to evaluate subnet %s on", q.e.Net.Space.Format(a))
	}
	if _, err := q.Ranges.Add(q.e.Net, q.e.Norms, a, q.calib, q.pool); err != nil {
		return r, err
	}
	p, err := q.table.Plan(a)
	if err != nil {
		return r, err
	}
	r.MACs, r.Params = g.MACs(), g.Params()
	r.Accuracy = float64(q.e.work.Correct(p, on.Images, on.Labels)) / float64(on.N())
	return r, nil
}
