package supernet

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/kernel"
)

// clock returns a clock that advances by tick(i) when it is read for the i-th time.
func clock(tick func(i int) time.Duration) func() time.Time {
	t, i := time.Unix(0, 0), 0
	return func() time.Time {
		i++
		t = t.Add(tick(i))
		return t
	}
}

// transformedBytes returns what the transformed weights of a tuning take.
func transformedBytes(net *Supernet, t *Tuning) int {
	n := 0
	for i := range net.W.Layers {
		l := &net.W.Layers[i]
		if c := t.of(l.Name); c != nil {
			n += 4 * kernel.WinogradLen(c.M, l.Out, l.In)
		}
	}
	return n
}

// TestTune: layers are computed in the way that was measured as the fastest, within the budget.
func TestTune(t *testing.T) {
	net := newTestNet(t, "resnet-28")
	pool := kernel.NewPool(1)
	defer pool.Close()
	// Tune measures direct convolution first, then smaller and then larger tiles.
	faster := func(i int) time.Duration { return time.Second / time.Duration(i) }
	slower := func(i int) time.Duration { return time.Microsecond * time.Duration(i) }
	tune := func(bytes int, tick func(int) time.Duration) Tuning {
		t.Helper()
		tuning, err := net.Tune(pool, bytes, clock(tick))
		if err != nil {
			t.Fatal(err)
		}
		if err := net.CheckTuning(&tuning); err != nil || tuning.Bytes != bytes {
			t.Errorf("within %d bytes: %+v, %v", bytes, tuning, err)
		}
		return tuning
	}
	all := tune(1<<30, faster)
	if len(all.Layers) != len(net.squares()) {
		t.Errorf("%d layers of %d by Winograd's algorithm, which measured faster", len(all.Layers), len(net.squares()))
	}
	largest := map[string]int{}
	for layer, q := range net.squares() {
		largest[net.W.Layers[layer].Name] = 4 / q.stride
	}
	for _, l := range all.Layers {
		if l.M != largest[l.Layer] || l.Images != 1 {
			t.Errorf("%+v: larger tiles measured faster", l)
		}
	}
	if none := tune(1<<30, slower); len(none.Layers) > 0 {
		t.Errorf("%v though direct convolution measured faster", none.Layers)
	}
	if none := tune(0, faster); len(none.Layers) > 0 {
		t.Errorf("%v for no bytes", none.Layers)
	}
	whole := transformedBytes(net, &all)
	some := tune(whole/2, faster)
	if n := transformedBytes(net, &some); n > whole/2 || n < whole/4 {
		t.Errorf("%d bytes of %d", n, whole/2)
	}
}

// TestChoose: a layer that only pays for several images is computed directly for one.
func TestChoose(t *testing.T) {
	net := newTestNet(t, "resnet-28")
	var times [2]map[way]time.Duration
	for i := range times {
		times[i] = map[way]time.Duration{}
	}
	for layer := range net.squares() {
		name := net.W.Layers[layer].Name
		times[0][way{name, 0}], times[0][way{name, 2}], times[0][way{name, 4}] = 100, 99, 200
		times[1][way{name, 0}], times[1][way{name, 2}], times[1][way{name, 4}] = 800, 500, 790
	}
	got := net.choose(times, 1<<30)
	if len(got.Layers) != len(net.squares()) {
		t.Errorf("%d layers", len(got.Layers))
	}
	for _, l := range got.Layers {
		if l.M != 2 || l.Images < 2 {
			t.Errorf("%+v: want tiles of 2 from several images on", l)
		}
	}
}

// TestTuningGivesBits: a tuning that was kept gives the same bits again.
func TestTuningGivesBits(t *testing.T) {
	net := newTestNet(t, "resnet-28")
	pool := kernel.NewPool(2)
	defer pool.Close()
	tuning, err := net.Tune(pool, net.WinogradBytes(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(tuning)
	if err != nil {
		t.Fatal(err)
	}
	var kept Tuning
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	a, norms := net.Space.Sample(rand.New(rand.NewPCG(5, 6)), Sampling{}), Norms{}
	var logits [2][]float32
	for i, tu := range []Tuning{tuning, kept} {
		p := planOf(t, net, norms, tu, a)
		logits[i] = make([]float32, 8*p.Classes)
		NewWorker(pool).Run(p, testImages(net.Space, 8), 8, logits[i])
	}
	if !slices.Equal(logits[0], logits[1]) {
		t.Errorf("%s: other logits when read again", text)
	}
}

func TestCheckTuning(t *testing.T) {
	net := newTestNet(t, "resnet-28")
	rule := net.Rule(net.WinogradBytes())
	if err := net.CheckTuning(&rule); err != nil || len(rule.Layers) < 2 {
		t.Fatalf("%v of %+v", err, rule)
	}
	for want, spoil := range map[string]func(u *Tuning){
		`layer "s9.b0.conv2" is tuned, and the supernet has no 3x3 layer`: func(u *Tuning) { u.Layers[0].Layer = "s9.b0.conv2" },
		"that is not yet":             func(u *Tuning) { u.Layers[1] = u.Layers[0] },
		"has tiles of 3":              func(u *Tuning) { u.Layers[0].M = 3 },
		"from 0 images on":            func(u *Tuning) { u.Layers[0].Images = 0 },
		"bytes more than the 1000":    func(u *Tuning) { u.Bytes = 1000 },
		"may take -1 bytes: must be ": func(u *Tuning) { u.Bytes = -1 },
	} {
		u := Tuning{Bytes: rule.Bytes, Layers: slices.Clone(rule.Layers)}
		spoil(&u)
		if err := net.CheckTuning(&u); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
