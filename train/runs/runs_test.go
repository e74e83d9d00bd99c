package runs_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/train"
	"weft/train/runs"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// write makes a run's folder with these metrics.
func write(t *testing.T, dir string, cfg train.Config, lines ...train.Metrics) {
	t.Helper()
	if err := train.WriteConfig(dir, cfg); err != nil {
		t.Fatal(err)
	}
	log, err := train.OpenLog(dir, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, m := range lines {
		if err := log.Write(m); err != nil {
			t.Fatal(err)
		}
	}
}

// line is a line of metrics after so many epochs of ten steps and 100 flops.
func line(epoch, beta, largest, smallest float64) train.Metrics {
	m := train.Metrics{Step: int(10 * epoch), Epoch: epoch, LR: 0.1, Beta: beta, Loss: 2 - largest, Flops: 100 * epoch, Seconds: 60 * epoch}
	m.Eval = append(m.Eval, train.NetEval{Net: "max", Accuracy: largest})
	if beta > 0 {
		m.Eval = append(m.Eval, train.NetEval{Net: "min", Accuracy: smallest})
	}
	return m
}

func config(epochs int, seed uint64) train.Config {
	c := train.Defaults("deps", "resnet-28s", "fashion-mnist")
	c.Epochs, c.Seed = epochs, seed
	return c
}

// course falls from 0.80 to 0.76 when the subnets join at epoch 2, and ends at 0.9.
var course = []train.Metrics{
	line(1, 0, 0.7, 0), line(2, 0, 0.8, 0), line(2.2, 0.5, 0.78, 0.3), line(2.5, 1, 0.76, 0.5),
	line(3, 1, 0.84, 0.6), line(4, 1, 0.9, 0.8),
}

func open(t *testing.T, dir string) *runs.Run {
	t.Helper()
	r, err := runs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 || math.IsNaN(a) && math.IsNaN(b) }

func TestCourseOfARun(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, config(4, 1), course...)
	r := open(t, dir)
	if dip, ok := r.Dip(); !ok || !near(dip, 0.04) {
		t.Errorf("dip is %v, %v: want 0.04", dip, ok)
	}
	for _, c := range []struct{ flops, want float64 }{
		{50, math.NaN()}, {100, 0.7}, {150, 0.75}, {250, 0.76}, {275, 0.80}, {400, 0.9}, {401, math.NaN()},
	} {
		if got := r.AtFlops("max", c.flops); !near(got, c.want) {
			t.Errorf("accuracy at %g flops is %g: want %g", c.flops, got, c.want)
		}
	}
	for _, c := range []struct{ accuracy, want float64 }{{0.5, 100}, {0.75, 150}, {0.8, 200}, {0.87, 350}, {0.95, math.NaN()}} {
		if got := r.FlopsTo("max", c.accuracy); !near(got, c.want) {
			t.Errorf("accuracy %g took %g flops: want %g", c.accuracy, got, c.want)
		}
	}
	if d := cmp.Diff([]string{"max", "min"}, r.Nets()); d != "" {
		t.Error(d)
	}
}

// Evaluations that go up and down as they did before are no dip; those that stay down are, in spite of it.
func TestDipAmongNoise(t *testing.T) {
	var steady, falls []runs.Point
	for i := range 40 {
		p := runs.Point{Epoch: 1 + 0.05*float64(i), Accuracy: 0.9 + 0.01*float64(1-i%4/2*2)}
		if i >= 20 {
			p.Beta = min(0.2*float64(i-19), 1)
		}
		steady = append(steady, p)
		if i >= 25 && i < 35 {
			p.Accuracy -= 0.03
		}
		falls = append(falls, p)
	}
	for _, c := range []struct {
		points []runs.Point
		want   float64
	}{{steady, 0}, {falls, 0.03}} {
		if dip, ok := runs.Dip(c.points); !ok || !near(dip, c.want) {
			t.Errorf("dip %v, %v: want %v", dip, ok, c.want)
		}
	}
}

// What was never evaluated on both sides of the switch has no dip.
func TestNoDip(t *testing.T) {
	for name, lines := range map[string][]train.Metrics{"alone": course[:2], "joint from the start": course[2:], "none": nil} {
		dir := t.TempDir()
		write(t, dir, config(4, 1), lines...)
		if dip, ok := open(t, dir).Dip(); ok {
			t.Errorf("%s: dip %v", name, dip)
		}
	}
}

func TestScan(t *testing.T) {
	dir := t.TempDir()
	done, half, broken := filepath.Join(dir, "a", "done"), filepath.Join(dir, "half"), filepath.Join(dir, "z-broken")
	write(t, done, config(4, 1), course...)
	killed := filepath.Join(dir, "killed") // before its last checkpoint
	write(t, killed, config(4, 1), course...)
	for _, run := range []string{done, killed} {
		if err := runs.Begin(run, runs.Record{Commit: "abc"}, began); err != nil {
			t.Fatal(err)
		}
	}
	if err := runs.End(done, nil, began.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	write(t, half, config(9, 2), course[:3]...)
	write(t, broken, config(4, 3))
	if err := os.WriteFile(filepath.Join(broken, "metrics.jsonl"), []byte("{\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "others"), 0o755); err != nil {
		t.Fatal(err)
	}
	list := scan(t, dir)
	if len(list) != 4 || list[0].Name != "a/done" || list[1].Name != "half" || list[2].Name != "killed" || list[3].Name != "z-broken" {
		t.Fatalf("found %+v", list)
	}
	d := list[0]
	if d.State != runs.Finished || d.Max != 0.9 || d.Min != 0.8 || d.Dip == nil || !near(*d.Dip, 0.04) || d.Commit != "abc" || d.Flops != 400 {
		t.Errorf("finished run: %+v", d)
	}
	if h := list[1]; h.State != runs.Stopped || h.Epoch != 2.2 || h.Epochs != 9 {
		t.Errorf("stopped run: %+v", h)
	}
	if k := list[2]; k.State != runs.Stopped || k.Epoch != 4 {
		t.Errorf("run killed at its end: %+v", k)
	}
	if b := list[3]; !strings.Contains(b.Failure, "line 1") {
		t.Errorf("damaged run: %+v", b)
	}
}

func scan(t *testing.T, dir string) []runs.Summary {
	t.Helper()
	list, err := runs.Scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The index is only a cache: it is used while it is true, and made again when it is not, damaged or gone.
func TestIndex(t *testing.T) {
	dir := t.TempDir()
	a := filepath.Join(dir, "a")
	write(t, a, config(4, 1), course[:2]...)
	scan(t, dir)
	index := filepath.Join(dir, ".weft-runs.json")
	b, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	// A value that only the index holds shows that the run is not read again.
	if err := os.WriteFile(index, []byte(strings.Replace(string(b), "resnet-28s", "from-the-index", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, dir)[0].Space; got != "from-the-index" {
		t.Errorf("a run that did not change was read again: space %s", got)
	}
	log, err := train.OpenLog(a, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Write(course[2]); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, dir)[0]; got.Space != "resnet-28s" || got.Epoch != 2.2 {
		t.Errorf("a run that changed is told as it was: %+v", got)
	}
	want := scan(t, dir)
	for _, damage := range []string{"", "{", `{"runs":[{"name":"ghost","changed":"2026-01-01T00:00:00Z"}]}`} {
		if err := os.WriteFile(index, []byte(damage), 0o644); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, scan(t, dir)); d != "" {
			t.Errorf("with the index %q: %s", damage, d)
		}
	}
}

func TestStates(t *testing.T) {
	dir := t.TempDir()
	a := filepath.Join(dir, "a")
	write(t, a, config(4, 1), course[:2]...)
	unlock, err := train.Lock(a)
	if err != nil {
		t.Fatal(err)
	}
	if got := scan(t, dir)[0].State; got != runs.Running {
		t.Errorf("a run that is trained is %s", got)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, dir)[0].State; got != runs.Stopped {
		t.Errorf("a run that nobody trains is %s", got)
	}
	if err := runs.End(a, train.ErrDiverged, began); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, dir)[0].State; got != runs.Diverged {
		t.Errorf("a run that diverged is %s", got)
	}
	if err := runs.Begin(a, runs.Record{Commit: "b"}, began.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	rec, err := runs.ReadRecord(a)
	if err != nil || rec.Failure != "" || rec.Resumed != 0 || !rec.Started.Equal(began.Add(time.Hour)) {
		t.Errorf("begun for the first time: %+v, %v", rec, err)
	}
	if err := runs.Begin(a, runs.Record{Commit: "c"}, began.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	b := filepath.Join(dir, "b")
	write(t, b, config(4, 1), course...)
	if got := open(t, b).Summary().State; got != runs.Finished {
		t.Errorf("a run of all its epochs is %s", got)
	}
	if err := runs.End(b, errors.New("save the checkpoint: no space left"), began); err != nil {
		t.Fatal(err)
	}
	if got := open(t, b).Summary().State; got != runs.Stopped {
		t.Errorf("a run whose last checkpoint was not kept is %s", got)
	}
	if rec, err = runs.ReadRecord(a); err != nil || rec.Resumed != 1 || !rec.Started.Equal(began.Add(time.Hour)) || rec.Commit != "c" {
		t.Errorf("begun again: %+v, %v", rec, err)
	}
}

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, config(4, 1), course...)
	other := config(4, 2)
	other.LR = 0.25
	write(t, b, other, line(1, 1, 0.5, 0.4), line(3, 1, 0.7, 0.6))
	all := []*runs.Run{open(t, a), open(t, b)}
	diffs, err := runs.Differences(all)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]runs.Difference{{"lr", []string{"0.4", "0.25"}}, {"seed", []string{"1", "2"}}}, diffs); d != "" {
		t.Error(d)
	}
	if flops, acc := runs.AtEqualCost(all, "max"); flops != 300 || !near(acc[0], 0.84) || !near(acc[1], 0.7) {
		t.Errorf("at equal cost: %v flops, %v", flops, acc)
	}
	if acc, flops := runs.ToEqualAccuracy(all, "min"); acc != 0.6 || flops[0] != 300 || flops[1] != 300 {
		t.Errorf("to equal accuracy: %v, %v flops", acc, flops)
	}
}
