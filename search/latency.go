package search

import (
	"context"
	"slices"
	"time"

	"weft/supernet"
)

// latencyRounds is how many times each latency is measured; the median counts. Where
// medians still fall from one batch size to the next by more than noise, up to
// extraRounds more are made: something disturbed the machine.
const (
	latencyRounds = 9
	extraRounds   = 18
)

// noise is the relative disorder of medians that passes.
const noise = 0.02

// Latencies measures every plan at every batch size 1..maxBatch on the worker and returns
// medians, [plan][batch−1]. Rounds go over all of them in turn, so that a disturbance of
// the machine spreads over many instead of spoiling one. observe is called after each
// of the first Rounds rounds.
func Latencies(ctx context.Context, w *supernet.Worker, plans []*supernet.Plan, maxBatch int, now func() time.Time, observe func()) ([][]time.Duration, error) {
	size := 0
	for _, p := range plans {
		w.Reserve(p, maxBatch)
		size = max(size, p.Input.Size())
	}
	images := make([]float32, maxBatch*size)
	for i := range images {
		images[i] = float32(i%251) / 250
	}
	logits := make([]float32, maxBatch*plans[0].Classes)
	runs := make([][][]time.Duration, len(plans))
	for round := 0; round < latencyRounds || round < latencyRounds+extraRounds && disordered(runs); round++ {
		for i, p := range plans {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if round == 0 {
				runs[i] = make([][]time.Duration, maxBatch)
			}
			w.Run(p, images, maxBatch, logits) // brings this subnet's weights into the caches
			for b := 1; b <= maxBatch; b++ {
				start := now()
				w.Run(p, images, b, logits)
				runs[i][b-1] = append(runs[i][b-1], now().Sub(start))
			}
		}
		if round < latencyRounds {
			observe()
		}
	}
	out := make([][]time.Duration, len(plans))
	for i := range runs {
		for _, d := range runs[i] {
			out[i] = append(out[i], median(d))
		}
	}
	return out, nil
}

// median sorts d; it is never 0.
func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return max(d[len(d)/2], 1)
}

// disordered reports whether a batch takes clearly less time than a smaller one.
func disordered(runs [][][]time.Duration) bool {
	for _, plan := range runs {
		for b := 1; b < len(plan); b++ {
			if float64(median(plan[b])) < (1-noise)*float64(median(plan[b-1])) {
				return true
			}
		}
	}
	return false
}

// Rounds is how many rounds Latencies makes when nothing disturbs it.
func Rounds() int { return latencyRounds }
