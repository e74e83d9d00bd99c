package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"
)

// lineEvery is the least time between two progress lines where there is no terminal to draw bars on.
const lineEvery = 5 * time.Second

// progress shows how far long jobs are: bars on a terminal, a plain line now and then elsewhere, nothing when quiet.
type progress struct {
	out  io.Writer     // nil when quiet
	bars *mpb.Progress // nil unless out is a terminal
	now  func() time.Time
}

// newProgress returns a progress that writes to w.
func newProgress(w io.Writer, quiet bool, now func() time.Time) *progress {
	p := &progress{now: now}
	if quiet {
		return p
	}
	p.out = w
	if f, ok := w.(*os.File); ok && cwriter.IsTerminal(int(f.Fd())) {
		p.bars = newBars(f)
	}
	return p
}

// newBars returns a container of bars on a terminal.
func newBars(w io.Writer, opts ...mpb.ContainerOption) *mpb.Progress {
	opts = append([]mpb.ContainerOption{mpb.WithOutput(w), mpb.WithWidth(32), mpb.WithRefreshRate(150 * time.Millisecond)}, opts...)
	return mpb.New(opts...)
}

// Close waits until the last state of the bars is on the terminal. Every job must be finished or stopped by then.
func (p *progress) Close() {
	if p.bars != nil {
		p.bars.Wait()
	}
}

// Start shows a new job of total units, done of which are finished already (a resumed run).
func (p *progress) Start(label, unit string, done, total int64) *job {
	j := &job{p: p, label: label, unit: unit, first: done, done: done, total: total, start: p.now()}
	j.line = j.start
	if p.bars != nil {
		j.bar = p.bars.New(total, mpb.BarStyle().Lbound("").Rbound("").Filler("█").Tip("█").Padding("░"),
			mpb.PrependDecorators(decor.Name(label, decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + j.state() })))
		j.bar.SetCurrent(done)
	}
	return j
}

// job is one thing in progress. Its methods may be called from any goroutine.
type job struct {
	p           *progress
	label, unit string
	bar         *mpb.Bar

	mu                 sync.Mutex
	first, done, total int64
	start, line        time.Time // when it began; when the last plain line was written
	note               string
	ended              bool
}

// Add says that n more units are finished.
func (j *job) Add(n int64) {
	j.mu.Lock()
	j.done += n
	if now := j.p.now(); j.bar == nil && now.Sub(j.line) >= lineEvery && j.done < j.total {
		j.line = now
		j.print()
	}
	j.mu.Unlock() // the goroutine that draws the bar takes it too
	if j.bar != nil {
		j.bar.IncrInt64(n)
	}
}

// Note replaces the words at the end of the line, such as the latest loss.
func (j *job) Note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note = fmt.Sprintf(format, args...)
}

// End shows the last state and leaves it standing. A job that ends early keeps its bar as far as it got.
func (j *job) End() {
	j.mu.Lock()
	if j.ended {
		j.mu.Unlock()
		return
	}
	j.ended = true
	if j.bar == nil {
		j.print()
	}
	complete := j.done >= j.total
	j.mu.Unlock()
	switch {
	case j.bar == nil:
	case complete:
		j.bar.SetTotal(-1, true)
	default:
		j.bar.Abort(false)
	}
}

// print writes the plain line. j.mu is held.
func (j *job) print() {
	if j.p.out != nil {
		fmt.Fprintf(j.p.out, "%s: %s\n", j.label, j.text())
	}
}

// state is text with the lock taken.
func (j *job) state() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text()
}

// text says how much is done, how fast, how long it will take, and the note: "40/200 steps (20%), 8.0 steps/s, 20s
// left, loss 0.31". j.mu is held.
func (j *job) text() string {
	parts := []string{fmt.Sprintf("%d/%d %s (%d%%)", j.done, j.total, j.unit, 100*j.done/max(j.total, 1))}
	elapsed := j.p.now().Sub(j.start)
	if n := j.done - j.first; n > 0 && elapsed > 0 {
		rate := float64(n) / elapsed.Seconds()
		parts = append(parts, fmt.Sprintf("%s %s/s", sig(rate), j.unit))
		if left := float64(j.total - j.done); left > 0 {
			parts = append(parts, short(time.Duration(left/rate*float64(time.Second)))+" left")
		} else {
			parts = append(parts, "took "+short(elapsed))
		}
	}
	if j.note != "" {
		parts = append(parts, j.note)
	}
	return strings.Join(parts, ", ")
}

// sig prints a rate with about three digits.
func sig(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// short prints a duration as people say it: 0.4s, 12s, 3m20s, 2h05m.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
