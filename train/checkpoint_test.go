package train

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"weft/data"
	"weft/kernel"
	"weft/safetensors"
)

// newTrainer returns a trainer at step 0.
func newTrainer(t *testing.T, c Config, set *data.Set) *Trainer {
	t.Helper()
	pool := kernel.NewPool(1)
	t.Cleanup(pool.Close)
	tr, err := New(c, set, pool)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestSaveAndLoad(t *testing.T) {
	set, dir := squares(64), t.TempDir()
	a := newTrainer(t, testConfig(), set)
	if found, err := newTrainer(t, testConfig(), set).Load(dir); found || err != nil {
		t.Errorf("an empty folder: %v, %v", found, err)
	}
	a.Step, a.Spent = 3, Cost{MACs: 5e8, Flops: 1e9, Seconds: 2}
	for i := range a.velocity {
		a.velocity[i] = float32(i % 7)
	}
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	c := testConfig()
	b := newTrainer(t, c, set)
	clear(b.Net.W.Data)
	if found, err := b.Load(dir); !found || err != nil || b.Step != 3 || b.Spent != a.Spent {
		t.Fatalf("%v, %v, step %d", found, err, b.Step)
	}
	for i := range a.Net.W.Params {
		for _, v := range [][2][]float32{{a.Net.W.Data, b.Net.W.Data}, {a.velocity, b.velocity}} {
			if !reflect.DeepEqual(a.Net.W.Canonical(v[0], i), b.Net.W.Canonical(v[1], i)) {
				t.Errorf("%s differs", a.Net.W.Params[i].Name)
			}
		}
	}
	c.LR = 1
	if _, err := newTrainer(t, c, set).Load(dir); err == nil || !strings.Contains(err.Error(), "other settings (lr)") {
		t.Error(err)
	}
	other := *set
	other.Digest = "x"
	if _, err := newTrainer(t, testConfig(), &other).Load(dir); err == nil || !strings.Contains(err.Error(), "other images of squares") {
		t.Error(err)
	}
}

// TestTrialGoesOn: a run that is resumed is held against guessing as if it had not been stopped.
func TestTrialGoesOn(t *testing.T) {
	set, dir := squares(64), t.TempDir()
	a := newTrainer(t, testConfig(), set)
	a.Step = 30
	a.trial = tally{Step: 20, Loss: 7, Maxs: 7}
	a.since = tally{Step: 27, Loss: 3, Maxs: 3, Sub: 0.5, Subs: 1}
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	b := newTrainer(t, testConfig(), set)
	if _, err := b.Load(dir); err == nil {
		t.Fatal("step 30 of 8 is gone on from")
	}
	b.Total = 100
	if _, err := b.Load(dir); err != nil {
		t.Fatal(err)
	}
	if want := (tally{Step: 20, Loss: 10, Maxs: 10, Sub: 0.5, Subs: 1}); b.trial != want {
		t.Errorf("%+v, want %+v", b.trial, want)
	}
}

// TestDamagedWeights: a value that is not finite is found before a step is made with it.
func TestDamagedWeights(t *testing.T) {
	set, dir := squares(64), t.TempDir()
	if err := newTrainer(t, testConfig(), set).Save(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, checkpointFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)-4:], []byte{0, 0, 0xc0, 0x7f}) // NaN
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newTrainer(t, testConfig(), set).Load(dir); err == nil || !strings.Contains(err.Error(), "not finite; the file is damaged") {
		t.Error(err)
	}
}

// TestDivergedWeightsAreNotSaved: the checkpoint stays the last good one.
func TestDivergedWeightsAreNotSaved(t *testing.T) {
	dir := t.TempDir()
	tr := newTrainer(t, testConfig(), squares(64))
	if err := tr.Save(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, checkpointFile)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tr.Step = 5
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		tr.Net.W.Data[0] = float32(v)
		if err := tr.Save(dir); !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "after step 5; train again with a lower --lr than 0.1") {
			t.Error(err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Error("the checkpoint was changed", err)
	}
}

func TestDamagedCheckpoint(t *testing.T) {
	dir, set := t.TempDir(), squares(64)
	if err := newTrainer(t, testConfig(), set).Save(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, checkpointFile)
	for name, c := range map[string]struct {
		change func(*safetensors.File)
		want   string
	}{
		"no metadata": {func(f *safetensors.File) { f.Metadata = nil }, "is not a checkpoint of weft"},
		"step": {func(f *safetensors.File) {
			f.Metadata["weft.run"] = strings.Replace(f.Metadata["weft.run"], `"step":0`, `"step":-1`, 1)
		}, "checkpoint at step -1 of 8"},
		"no weight": {func(f *safetensors.File) { f.Tensors = f.Tensors[1:] }, "is missing"},
		"shape": {func(f *safetensors.File) {
			f.Tensors[0] = safetensors.NewF32(f.Tensors[0].Name, []int{1}, []float32{1})
		}, "has 1 values instead of"},
		"type": {func(f *safetensors.File) { f.Tensors[0] = safetensors.NewI32(f.Tensors[0].Name, []int{1}, []int32{1}) }, "has type I32"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := safetensors.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c.change(f)
			broken := t.TempDir()
			if err := f.WriteFile(filepath.Join(broken, checkpointFile)); err != nil {
				t.Fatal(err)
			}
			if found, err := newTrainer(t, testConfig(), set).Load(broken); found || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v, want %q", found, err, c.want)
			}
		})
	}
}

// TestDocumentedFields: docs/formats/checkpoint.md names every field that is written.
func TestDocumentedFields(t *testing.T) {
	page, err := os.ReadFile("../docs/formats/checkpoint.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[progress](), reflect.TypeFor[Metrics](), reflect.TypeFor[NetEval]()} {
		for _, f := range reflect.VisibleFields(typ) {
			field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous {
				continue
			}
			if !strings.Contains(string(page), "`"+field+"`") {
				t.Errorf("the page does not name %s of %v", field, typ)
			}
		}
	}
}

// TestMetricsLog: a torn last line and lines after the checkpoint are dropped on resuming.
func TestMetricsLog(t *testing.T) {
	dir := t.TempDir()
	write := func(at int, lines ...int) {
		t.Helper()
		log, err := OpenLog(dir, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range lines {
			if err := log.Write(Metrics{Step: step}); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(0, 20, 40, 60)
	f, err := os.OpenFile(filepath.Join(dir, metricsFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"step":80,"epo`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	write(40, 50)
	lines, err := ReadMetrics(dir)
	var steps []int
	for _, m := range lines {
		steps = append(steps, m.Step)
	}
	if err != nil || !reflect.DeepEqual(steps, []int{20, 40, 50}) {
		t.Errorf("%v, %v", steps, err)
	}
}

// TestStoppedClock: steps that took no time by the clock have a speed that JSON can tell.
func TestStoppedClock(t *testing.T) {
	tr := newTrainer(t, testConfig(), squares(64))
	var line Metrics
	tr.Observe = func(m Metrics) { line = m }
	tr.since.begin(tr)
	tr.Step, tr.Spent.MACs = 1, 1
	if err := tr.report(false); err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(line); err != nil {
		t.Error(err)
	}
}

// TestGuessing: a run ends if it does no better than guessing for a while, not for a batch that
// is hard, nor for the few of progressive shrinking that the largest subnet learns from.
func TestGuessing(t *testing.T) {
	tr := newTrainer(t, testConfig(), squares(64)) // two classes: guessing costs 0.69
	tr.Step = 1000
	tr.trial.begin(tr)
	line := func(steps, maxs int, loss float64, subs int, sub float64) error {
		tr.since.begin(tr)
		for range maxs {
			tr.since.add(loss, true)
		}
		for range subs {
			tr.since.add(sub, false)
		}
		tr.Step += steps
		return tr.report(false)
	}
	for i, err := range []error{
		line(20, 20, 0.3, 60, 9), // soft targets at a temperature
		line(19, 19, 0.3, 0, 0),
		line(1, 1, 5, 0, 0),
		line(1, 1, 5, 0, 0),
		line(20, 20, 0.3, 0, 0),
		line(20, 1, 5, 79, 0.3),
		line(20, 0, 0, 20, 0.3),
	} {
		if err != nil {
			t.Errorf("line %d: %v", i, err)
		}
	}
	if err := line(20, 20, 0.9, 60, 0.1); !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "the loss, 0.90, is above that of guessing, 0.69") {
		t.Error(err)
	}
	if err := line(20, 0, 0, 20, 0.9); !errors.Is(err, ErrDiverged) {
		t.Error(err)
	}
}
