package kerneltest

import (
	"fmt"
	"io"
	"regexp"
	"text/tabwriter"
	"time"

	"weft/kernel"
	"weft/kernel/peak"
)

const (
	rounds = 20                   // timed rounds a case; the best counts
	slot   = 2 * time.Millisecond // one timed round takes about this long
)

// Speed times the cases whose name matches the regular expression filter on so many threads and writes one
// line each: arithmetic in GF/s (1e9 operations a second, a multiply-add being two) and
// per cent of the peak of fused multiply-adds in registers, memory-bound operations in
// GB/s and per cent of a copy; of every tier that is named, or of the one in use. Yardstick
// and tiers alternate, and the best of each counts, because neighbours on the machine only
// ever slow down.
func Speed(w io.Writer, filter string, threads int, tiers ...string) error {
	if len(tiers) == 0 {
		tiers = []string{kernel.Tier()}
	}
	match, err := regexp.Compile(filter)
	if err != nil {
		return err
	}
	pool := kernel.NewPool(threads)
	defer pool.Close()
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "%d threads\top\tshape", threads)
	for _, t := range tiers {
		fmt.Fprintf(tw, "\t%s µs\trate\t%% of peak", t)
	}
	fmt.Fprintln(tw)
	for _, c := range SpeedCases() {
		if !match.MatchString(c.String()) {
			continue
		}
		fmt.Fprintf(tw, "\t%s\t%s", c.Op, c.Shape)
		for _, s := range c.measure(pool, tiers) {
			unit := "GF/s"
			if s.memory {
				unit = "GB/s"
			}
			fmt.Fprintf(tw, "\t%.1f\t%.1f %s\t%.0f", s.seconds*1e6, s.rate/1e9, unit, 100*s.rate/s.peak)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// sample is the outcome of timing a case in one tier.
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

func (c Case) measure(pool *kernel.Pool, tiers []string) []sample {
	a := newArena(1, false)
	a.timed = true
	wk := c.setup(a)
	pieces := 1
	if pool.Threads() > 1 && !wk.serial {
		pieces = min(wk.units, 4*pool.Threads())
	}
	job := &spread{wk.run, wk.units, pieces}
	memory := wk.bytes > 0
	amount, yard := wk.flops, yardstick(pool, memory)
	if memory {
		amount = wk.bytes
	}
	once := func() { pool.Run(pieces, job) }
	times, peak := calibrate(once), 0.0
	samples := make([]sample, len(tiers))
	for range rounds {
		peak = max(peak, yard())
		for i, t := range tiers {
			restore := kernel.UseTier(t)
			start := time.Now()
			for range times {
				once()
			}
			samples[i].rate = max(samples[i].rate, amount*float64(times)/time.Since(start).Seconds())
			restore()
		}
	}
	if wk.serial {
		peak /= float64(pool.Threads())
	}
	for i := range samples {
		s := &samples[i]
		s.seconds, s.peak, s.memory = amount/s.rate, peak, memory
	}
	return samples
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
