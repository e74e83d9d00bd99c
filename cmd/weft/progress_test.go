package main

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vbauerster/mpb/v8"
)

// hand is a clock that the test moves.
type hand struct{ t time.Time }

func (h *hand) now() time.Time { return h.t }

func TestProgressPrintsLinesWithoutATerminal(t *testing.T) {
	var out strings.Builder
	clock := &hand{time.Unix(0, 0)}
	p := newProgress(&out, false, clock.now)
	j := p.Start("train", "steps", 100, 200) // resumed at step 100
	for range 100 {
		clock.t = clock.t.Add(125 * time.Millisecond)
		j.Note("loss %.2f", 0.31)
		j.Add(1)
	}
	j.End()
	j.End() // a deferred second call says nothing
	p.Close()
	want := `train: 140/200 steps (70%), 8.00 steps/s, 7.5s left, loss 0.31
train: 180/200 steps (90%), 8.00 steps/s, 2.5s left, loss 0.31
train: 200/200 steps (100%), 8.00 steps/s, took 12s, loss 0.31
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestProgressStoppedEarlyOrQuiet(t *testing.T) {
	var out strings.Builder
	clock := &hand{time.Unix(0, 0)}
	j := newProgress(&out, false, clock.now).Start("profile", "plans", 0, 0)
	j.End()
	if got, want := out.String(), "profile: 0/0 plans (0%)\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	out.Reset()
	p := newProgress(&out, true, clock.now)
	j = p.Start("train", "steps", 0, 10)
	clock.t = clock.t.Add(time.Minute)
	j.Add(5)
	j.End()
	p.Close()
	if out.Len() != 0 {
		t.Errorf("quiet progress wrote %q", out.String())
	}
}

func TestShort(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{400 * time.Millisecond, "0.4s"},
		{12 * time.Second, "12s"},
		{200 * time.Second, "3m20s"},
		{125 * time.Minute, "2h05m"},
	} {
		if got := short(c.d); got != c.want {
			t.Errorf("short(%v) = %s, want %s", c.d, got, c.want)
		}
	}
}

// Drawing asks for the state from another goroutine while jobs go on; the last state stays on the screen.
func TestProgressDrawsBars(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, now: time.Now, bars: newBars(&out, mpb.WithAutoRefresh(), mpb.WithWidth(120))}
	whole, part := p.Start("train", "steps", 0, 2000), p.Start("profile", "plans", 3, 10)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				whole.Add(1)
				whole.Note("loss %.2f", 0.31)
			}
		})
	}
	wg.Wait()
	whole.End()
	part.Add(2)
	part.End()
	p.Close()
	for _, want := range []string{"train", "2000/2000 steps (100%)", "loss 0.31", "5/10 plans (50%)", "█"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not on the screen:\n%s", want, out.String())
		}
	}
}
