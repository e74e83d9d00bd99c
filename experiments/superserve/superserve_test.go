package superserve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/sched"
)

func run(t *testing.T, o Options) *Report {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// faults is Figure 11a on the paper's table, the cheapest of the figures.
var faults = sync.OnceValues(func() (*Report, error) {
	return Run(context.Background(), Options{Profile: Paper(), Figures: []string{"11a"}, Seed: 1})
})

func figure11(t *testing.T) *Report {
	t.Helper()
	r, err := faults()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestProfiles: eight workers span the paper's throughputs, and the paper's third property holds.
func TestProfiles(t *testing.T) {
	for _, p := range []Profile{Paper(), Linear()} {
		n := len(p.Subnets) - 1
		for i, want := range map[int]float64{0: 8000, n: 2000} {
			got := paperWorkers * paperBatch / p.Latency(i, paperBatch).Seconds()
			if math.Abs(got-want) > 0.01 {
				t.Errorf("%s: %v/s in subnet %d, want %v", p.Name, got, i, want)
			}
		}
		if w := p.Check(); len(w) > 0 {
			t.Errorf("%s: %v", p.Name, w)
		}
	}
	measured := Measured(Linear().Profile)
	if diff := cmp.Diff(measured.Profile, Linear().Profile); diff != "" {
		t.Errorf("a profile of that speed is stretched: %s", diff)
	}
	twice := Paper()
	for i := range twice.Subnets {
		for b := range twice.Subnets[i].Latency {
			twice.Subnets[i].Latency[b] /= 2
		}
	}
	slow := Measured(twice.Profile)
	if got := slow.Latency(0, paperBatch); got != 16*time.Millisecond || !strings.Contains(slow.Note, "12800/s and 18.00 ms there") {
		t.Errorf("a full batch takes %v: %s", got, slow.Note)
	}
}

// TestFaults is Figure 11a in shape, on the paper's table.
func TestFaults(t *testing.T) {
	f := figure11(t).Figures[0]
	for _, c := range f.Claims {
		for _, v := range c.Verdicts {
			if !v.Holds {
				t.Errorf("%s, %s: %s", c.Text, v.Policy, v.Value)
			}
		}
	}
	if len(f.Plots) != 3 || len(f.Plots[1].Lines) != len(ours) || len(f.Plots[1].Lines[0].Points) != 120 {
		t.Errorf("plots %+v", f.Plots)
	}
}

// TestScaling is Figure 11b in shape: twice the workers get through nearly twice as much.
func TestScaling(t *testing.T) {
	f := run(t, Options{Profile: Paper(), Figures: []string{"11B"}, Seed: 1}).Figures[0]
	for i, row := range f.Rows {
		if row.Policy == f.Rows[max(i-1, 0)].Policy && i > 0 && row.PerSecond < 1.8*f.Rows[i-1].PerSecond {
			t.Errorf("%s: %.0f/s with %s, %.0f/s with half of them", row.Policy, row.PerSecond, row.Case, f.Rows[i-1].PerSecond)
		}
		if row.Attainment < scaleLeast {
			t.Errorf("%s attains %v with %s", row.Policy, row.Attainment, row.Case)
		}
	}
}

// TestBoundHolds: no policy exceeds the upper bound, in either figure.
func TestBoundHolds(t *testing.T) {
	s := &setting{Profile: Paper(), seed: 2}
	for _, trace := range []string{"bursty:base=1500,var=5550,cv2=8,for=3s", "maf:mean=6400,for=3s", "bursty:base=9000,var=0,for=2s"} {
		c := s.onEight("", trace)
		requests, err := c.requests()
		if err != nil {
			t.Fatal(err)
		}
		top, err := (&Cell{c, Bound}).simulate(s.Profile.Profile, requests)
		if err != nil {
			t.Fatal(err)
		}
		for _, policy := range s.all() {
			r, err := (&Cell{c, policy}).simulate(s.Profile.Profile, requests)
			if err != nil {
				t.Fatal(err)
			}
			if r.Attainment > top.Attainment || r.Effective > top.Effective {
				t.Errorf("%s under %s: %v and %v, the bound is %v and %v", trace, policy, r.Attainment, r.Effective, top.Attainment, top.Effective)
			}
		}
	}
}

func TestAccount(t *testing.T) {
	p := Paper().Profile
	requests := sched.OpenLoop([]time.Duration{0, 0, BinWidth, BinWidth + 1}, 10*time.Millisecond)
	got := account(p, requests, []sched.Outcome{
		{Finished: 5 * time.Millisecond, Subnet: 0, Images: 2},
		{Finished: 5 * time.Millisecond, Subnet: 1, Images: 4},
		{Finished: BinWidth + 11*time.Millisecond, Subnet: 5, Images: 1}, // late
		{Dropped: sched.Late, Finished: BinWidth + 2},
	})
	want := Result{
		Requests: 4, Attainment: 0.5, Accuracy: (0.7382 + 0.7669) / 2, Effective: (0.7382 + 0.7669) / 4,
		Shares: []float64{0.5, 0.5, 0, 0, 0, 0}, Timeline: []Bin{{2, 2, (0.7382 + 0.7669) / 2, 3}, {2, 0, 0, 0}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if part := got.part(0, BinWidth); part.Requests != 2 || part.Attainment != 1 || part.Effective != want.Accuracy {
		t.Errorf("the first bin is %+v", part)
	}
}

// TestResume: what is kept is not computed again, unless anything it depends on is another.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	o := Options{Profile: Paper(), Figures: []string{"11a"}, Seed: 1, Dir: dir, Program: "a"}
	if diff := cmp.Diff(figure11(t), run(t, o)); diff != "" {
		t.Errorf("the same run gives another report: %s", diff)
	}
	files, err := filepath.Glob(filepath.Join(dir, "cells", "*.json"))
	if err != nil || len(files) != 8 {
		t.Fatal(files, err)
	}
	// A result that no simulation gives shows where it is read.
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw = regexp.MustCompile(`"attainment":[0-9.e-]+,`).ReplaceAll(raw, []byte(`"attainment":0.125,`))
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := run(t, o).Figures[0].Rows[0].Attainment; got != 0.125 {
		t.Errorf("computed again: %v", got)
	}
	o.Program = "b"
	if got := run(t, o).Figures[0].Rows[0].Attainment; got == 0.125 {
		t.Error("another program takes up the old results")
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{Profile: Paper(), Figures: []string{"11a"}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Run(t.Context(), Options{Profile: Paper(), Figures: []string{"12"}}); err == nil || !strings.Contains(err.Error(), `"12" is not one of 8a, 9`) {
		t.Error(err)
	}
}

// TestWrite: all files are there, and the tables say what the results say.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	r := figure11(t)
	if err := Write(dir, "weft experiment superserve", []*Report{r}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"report.html":   "Figure 11a: losing workers",
		"superserve.md": "![Figure 11a: losing workers](paper-11a.svg)",
		"paper-11a.svg": "</svg>",
		"paper.json":    `"id": "11a"`,
	} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s lacks %s", name, want)
		}
	}
	text := markdown("x", []*Report{r})
	if strings.Contains(text, "NaN") || strings.Contains(text, "%!") {
		t.Error(text)
	}
	var back Report
	raw, err := os.ReadFile(filepath.Join(dir, "paper.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &back); err != nil || len(back.Figures[0].Rows) != len(r.Figures[0].Rows) {
		t.Error(err, len(back.Figures))
	}
}

// TestResults: the results that are kept here are those of the profiles that they name. The
// policies of sched may have become better since; a fixed subnet is what it was.
func TestResults(t *testing.T) {
	files, err := filepath.Glob("results/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var want Report
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		p, err := Recorded(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		got := run(t, Options{Profile: p, Figures: []string{"11a"}, Seed: 1})
		if diff := cmp.Diff(want.Subnets, got.Subnets); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		if diff := cmp.Diff(clippers(&want), clippers(got)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

// clippers returns the rows of fixed subnets in Figure 11a.
func clippers(r *Report) (rows []Row) {
	for _, f := range r.Figures {
		for _, row := range f.Rows {
			if f.ID == "11a" && strings.HasPrefix(row.Policy, "clipper+") {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// BenchmarkSimulation reports how many requests a second of real time are simulated.
func BenchmarkSimulation(b *testing.B) {
	s := &setting{Profile: Paper(), seed: 1}
	c := s.bursty(4900, 4)
	requests, err := c.requests()
	if err != nil {
		b.Fatal(err)
	}
	for _, policy := range []string{"weft", "slackfit", "infaas", "fixed:78.25", Bound} {
		b.Run(policy, func(b *testing.B) {
			n := 0
			for b.Loop() {
				r, err := (&Cell{c, policy}).simulate(s.Profile.Profile, requests)
				if err != nil {
					b.Fatal(err)
				}
				n += r.Requests
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}
