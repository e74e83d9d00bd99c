package kerneltest

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"weft/kernel"
	"weft/kernel/peak"
)

const (
	rounds = 20                   // timed rounds a case; the best counts
	slot   = 2 * time.Millisecond // one timed round takes about this long
)

// Speed times the cases whose name contains filter on so many threads and writes one
// line each: arithmetic in GF/s (1e9 operations a second, a multiply-add being two) and
// per cent of the peak of fused multiply-adds in registers, memory-bound operations in
// GB/s and per cent of a copy. Yardstick and case alternate, and the best of each counts,
// because neighbours on the machine only ever slow down.
func Speed(w io.Writer, filter string, threads int) error {
	pool := kernel.NewPool(threads)
	defer pool.Close()
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "kernels %s, %d threads\top\tshape\tµs\trate\t%% of peak\n", kernel.Tier(), threads)
	for _, c := range SpeedCases() {
		if !strings.Contains(c.String(), filter) {
			continue
		}
		s := c.measure(pool)
		unit, rate := "GF/s", s.rate
		if s.memory {
			unit = "GB/s"
		}
		fmt.Fprintf(tw, "\t%s\t%s\t%.1f\t%.1f %s\t%.0f\n", c.Op, c.Shape, s.seconds*1e6, rate/1e9, unit, 100*rate/s.peak)
	}
	return tw.Flush()
}

// sample is the outcome of timing a case.
type sample struct {
	seconds    float64 // one run
	rate, peak float64 // operations or bytes a second
	memory     bool
}

// spread runs pieces of work on the threads of a pool.
type spread struct {
	run           func(lo, hi int)
	units, pieces int
}

func (s *spread) Do(i, _ int) { s.run(s.units*i/s.pieces, s.units*(i+1)/s.pieces) }

func (c Case) measure(pool *kernel.Pool) sample {
	a := newArena(1, false)
	a.timed = true
	wk := c.setup(a)
	pieces := 1
	if pool.Threads() > 1 && !wk.serial {
		pieces = min(wk.units, 4*pool.Threads())
	}
	job := &spread{wk.run, wk.units, pieces}
	s := sample{memory: wk.bytes > 0}
	amount, yard := wk.flops, yardstick(pool, s.memory)
	if s.memory {
		amount = wk.bytes
	}
	once := func() { pool.Run(pieces, job) }
	times := calibrate(once)
	for range rounds {
		s.peak = max(s.peak, yard())
		start := time.Now()
		for range times {
			once()
		}
		s.rate = max(s.rate, amount*float64(times)/time.Since(start).Seconds())
	}
	if wk.serial {
		s.peak /= float64(pool.Threads())
	}
	s.seconds = amount / s.rate
	return s
}

// calibrate returns how often f runs in a slot.
func calibrate(f func()) int {
	f()
	for n := 1; ; n *= 2 {
		start := time.Now()
		for range n {
			f()
		}
		if d := time.Since(start); d > slot/4 {
			return max(1, int(float64(n)*float64(slot)/float64(d)))
		}
	}
}

// yardstick returns a function that measures what all threads of the pool can do:
// operations a second in registers, or bytes read and written a second by copies of 8 MiB.
func yardstick(pool *kernel.Pool, memory bool) func() float64 {
	const n = 20000
	pieces := 8 * pool.Threads()
	amount := float64(pieces) * n * peak.Flops
	job := &spread{units: pieces, pieces: pieces, run: func(_, _ int) { peak.FMA(n) }}
	if memory {
		src, dst := make([]float32, 2<<20), make([]float32, 2<<20)
		amount = 2 * 4 * float64(len(src))
		job = &spread{units: len(src), pieces: pieces, run: func(lo, hi int) { copy(dst[lo:hi], src[lo:hi]) }}
	}
	return func() float64 {
		start := time.Now()
		pool.Run(pieces, job)
		return amount / time.Since(start).Seconds()
	}
}
