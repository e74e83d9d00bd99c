package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/search"
	"weft/supernet"
)

// findSpace returns a space of 10 classes and single-channel images.
func findSpace(t *testing.T, name string) *supernet.Space {
	t.Helper()
	s, err := supernet.Find(name, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// cheapButNotBest are measured subnets whose accuracy rises with their cost, the largest not among them.
func cheapButNotBest(t *testing.T, space *supernet.Space) []search.Result {
	t.Helper()
	archs, err := search.Candidates(space, search.Config{Samples: 60, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var sample []search.Result
	for _, a := range archs {
		g, err := space.Lower(a)
		if err != nil {
			t.Fatal(err)
		}
		if m := g.MACs(); a != space.Max() {
			sample = append(sample, search.Result{Arch: a, MACs: m, Accuracy: 0.5 + float64(m)/2e7})
		}
	}
	return sample
}

func findMore(t *testing.T, h hunt, space *supernet.Space, sample []search.Result) ([]supernet.Arch, error) {
	t.Helper()
	bars := newProgress(io.Discard, true, time.Now)
	defer bars.Close()
	h.cost, h.seed = "macs", 1
	return h.find(t.Context(), space, sample, "set", "digest", bars, io.Discard)
}

func TestHuntConfirmsWhatIsNew(t *testing.T) {
	space := findSpace(t, "resnet-28s")
	sample := cheapButNotBest(t, space)
	most := 0
	for i := range sample {
		most = max(most, sample[i].MACs)
	}
	for _, confirm := range []int{0, 1, 5} {
		archs, err := findMore(t, hunt{method: byNSGA2, population: 20, generations: 10, confirm: confirm}, space, sample)
		if err != nil || len(archs) != confirm {
			t.Fatalf("%d subnets instead of %d, %v", len(archs), confirm, err)
		}
		seen := map[supernet.Arch]bool{}
		for _, r := range sample {
			seen[r.Arch] = true
		}
		for i, a := range archs {
			g, err := space.Lower(a)
			if err != nil {
				t.Fatal(err)
			}
			if seen[a] {
				t.Errorf("%s twice", space.Format(a))
			}
			if seen[a] = true; i == 0 && g.MACs() < most/2 {
				t.Errorf("the first, %s, is none of the most accurate", space.Format(a))
			}
		}
	}
}

// Of four architectures of resnet-28s three are the network of another: what was measured under another name is not
// measured again.
func TestHuntTellsNetworksApart(t *testing.T) {
	space := findSpace(t, "resnet-28s")
	sample := cheapButNotBest(t, space)
	archs, err := findMore(t, hunt{method: exhaustively, confirm: 1000}, space, sample)
	if err != nil || len(archs) < 3 {
		t.Fatalf("%d subnets, %v", len(archs), err)
	}
	known := byNetwork(space, sample)
	for _, a := range archs {
		if _, ok := known[space.Canonical(a)]; ok {
			t.Errorf("%s was measured already, under another name", space.Format(a))
		}
	}
}

// A subnet of the sample may keep limits that none of those keep which are looked at later.
func TestHuntLeavesItToTheSample(t *testing.T) {
	space := findSpace(t, "resnet-28s")
	h := hunt{method: byNSGA2, population: 20, generations: 3, confirm: 5, limits: search.Limits{Accuracy: 0.999}}
	if archs, err := findMore(t, h, space, cheapButNotBest(t, space)); err != nil || len(archs) != 0 {
		t.Errorf("%d subnets, %v", len(archs), err)
	}
}

func TestHuntRefusesToLookForEver(t *testing.T) {
	h := hunt{method: exhaustively}
	err := h.feasible(findSpace(t, "ofa-mbv3-k357"), 100, "digest")
	if err == nil || !strings.Contains(err.Error(), "space ofa-mbv3-k357 has 2.18e+19 subnets, too many") {
		t.Error(err)
	}
}

// A space of few networks needs no predictor: all of them are measured.
func TestHuntOfAllNetworks(t *testing.T) {
	space := findSpace(t, "resnet-28s")
	space.Widths, space.Expansions = space.Widths[:1], space.Expansions[:1]
	archs, err := search.Candidates(space, search.Config{Samples: 100})
	if err != nil || len(archs) >= search.LeastSamples {
		t.Fatalf("%d networks, %v", len(archs), err)
	}
	h := hunt{method: automatic}
	if err := h.feasible(space, len(archs), "digest"); err != nil || h.method != bySample {
		t.Errorf("%s, %v", h.method, err)
	}
	h.method = byNSGA2
	if err := h.feasible(space, len(archs), "digest"); err == nil || !strings.Contains(err.Error(), "choose --method sample") {
		t.Error(err)
	}
	h.method = automatic
	if err := h.feasible(space, len(archs)-1, "digest"); err == nil || h.method != exhaustively { // too few for a predictor
		t.Errorf("with one network left, the method is %s, %v", h.method, err)
	}
}

// What would be left aside is refused.
func TestHuntRefusesUnusedOptions(t *testing.T) {
	for _, c := range []struct {
		change func(*hunt)
		want   string
	}{
		{func(h *hunt) { h.confirm = 3 }, "--confirm has"},
		{func(h *hunt) { h.population = 8 }, "--population has"},
		{func(h *hunt) { h.method, h.generations = exhaustively, 8 }, "--generations has"},
		{func(h *hunt) { h.batch = 16 }, "--latency-batch has"},
		{func(h *hunt) { h.keepPredictor = "p" }, "--predictor-out has"},
		{func(h *hunt) {
			h.method, h.population, h.confirm, h.keepPredictor = byNSGA2, 8, 3, filepath.Join(t.TempDir(), "p")
		}, ""},
		{func(h *hunt) { h.batch, h.cost = 16, "latency" }, ""},
	} {
		h := defaultHunt()
		c.change(&h)
		if err := h.validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// One file cannot be both bundle and predictor, whatever its names.
func TestSearchTellsFilesApart(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	var j searchJob
	j.defaults()
	j.hunt.method = byNSGA2
	for _, same := range []string{"m.weft", "./m.weft", filepath.Join(dir, "m.weft"), filepath.Join(link, "m.weft")} {
		j.out, j.hunt.keepPredictor = "m.weft", same
		if err := j.validate(); err == nil || !strings.Contains(err.Error(), "two files cannot both be") {
			t.Errorf("%s: %v", same, err)
		}
	}
	j.hunt.keepPredictor = filepath.Join(link, "p.weft")
	if err := j.validate(); err != nil {
		t.Error(err)
	}
}

// The hypervolume is a part of the area, and no NaN where nothing is left to gain.
func TestHypervolumeIsAPart(t *testing.T) {
	for _, c := range []struct {
		results []search.Result
		want    float64
	}{
		{[]search.Result{{MACs: 0, Accuracy: 0.5}, {MACs: 4, Accuracy: 1}}, 0},
		{[]search.Result{{MACs: 0, Accuracy: 0.5}, {MACs: 1, Accuracy: 0.75}, {MACs: 4, Accuracy: 0.8}}, 0.375},
		{[]search.Result{{MACs: 1, Accuracy: 1}, {MACs: 4, Accuracy: 1}}, 0},
	} {
		if got := hypervolume(c.results, search.ByMACs); got != c.want {
			t.Errorf("%v: %v, want %v", c.results, got, c.want)
		}
	}
}
