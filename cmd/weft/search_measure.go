package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"weft/data"
	"weft/experiments/kept"
	"weft/search"
	"weft/supernet"
)

// measuring measures subnets, and keeps what it has measured in the folder of the run.
type measuring struct {
	job    *searchJob
	e      *search.Evaluator
	val    data.Split
	kept   *kept.Store[string, search.Result] // by the subnet's text form
	bars   *progress
	errw   io.Writer
	digest string
}

// measure returns the results of the subnets, in order. It begins with the dearest, which tells how long the rest takes.
func (m *measuring) measure(ctx context.Context, what string, archs []supernet.Arch) ([]search.Result, error) {
	if len(archs) == 0 {
		return nil, nil
	}
	results := make([]search.Result, len(archs))
	var todo []int
	work := 0.0
	for i, a := range archs {
		r, ok, err := m.kept.Get(m.name(a))
		if err != nil {
			return nil, err
		}
		if results[i] = r; ok {
			continue
		}
		g, err := m.e.Net.Space.Lower(a)
		if err != nil {
			return nil, err
		}
		results[i].MACs = g.MACs()
		work += float64(g.MACs())
		todo = append(todo, i)
	}
	slices.SortStableFunc(todo, func(i, j int) int { return cmp.Compare(results[j].MACs, results[i].MACs) })
	bar := m.bars.Start(what, "subnets", int64(len(archs)-len(todo)), int64(len(archs)))
	defer bar.End()
	best := 0.0
	for k, i := range todo {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("interrupted after %d of %d subnets; the same command goes on", len(archs)-len(todo)+k, len(archs))
		}
		start, macs := time.Now(), float64(results[i].MACs)
		r, err := m.e.Evaluate(archs[i], m.val)
		if err != nil {
			return nil, err
		}
		if err := m.kept.Put(m.name(archs[i]), r); err != nil {
			return nil, err
		}
		if k == 0 && len(todo) > 1 && m.bars.out != nil {
			about := time.Duration(float64(time.Since(start)) * work / macs)
			fmt.Fprintf(m.errw, "%s: %d subnets to measure, about %s\n", what, len(todo), short(about))
		}
		results[i] = r
		best = max(best, r.Accuracy)
		bar.Note("best %.2f %%", 100*best)
		bar.Add(1)
	}
	for i, a := range archs {
		g, err := m.e.Net.Space.Lower(a)
		if err != nil {
			return nil, err
		}
		if err := m.job.hunt.costs(&results[i], g); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func (m *measuring) name(a supernet.Arch) string { return m.e.Net.Space.Format(a) }

// choose returns the subnets for the bundle: the front within the limits and, where there are none, the ends of the space.
func (j *searchJob) choose(space *supernet.Space, results []search.Result) ([]search.Result, error) {
	cost := search.Costs[j.hunt.cost]
	if j.hunt.limits == (search.Limits{}) {
		return search.Serve(space, results, cost, j.hunt.trained), nil
	}
	within := search.Front(search.Within(results, j.hunt.limits), cost)
	if len(within) == 0 {
		return nil, fmt.Errorf("%d subnets measured: %w", len(results), search.ErrNoneFits)
	}
	return within, nil
}

// weightsDigest tells weights apart.
func weightsDigest(net *supernet.Supernet) string {
	h := sha256.New()
	var b [4]byte
	for _, v := range net.W.Data {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
