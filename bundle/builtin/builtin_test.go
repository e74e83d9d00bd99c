package builtin_test

import (
	"os"
	"path/filepath"
	"testing"

	"weft/bundle"
	"weft/bundle/builtin"
	"weft/data"
	"weft/kernel"
	"weft/nn"
	"weft/safetensors"
	"weft/supernet"
)

func open(t *testing.T) *bundle.Bundle {
	t.Helper()
	if n := len(builtin.Model()); n > 2<<20 {
		t.Errorf("the model takes %d bytes, more than 2 MiB", n)
	}
	f, err := safetensors.Decode(builtin.Model())
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// correct counts the built-in images that a subnet gets right with these statistics.
func correct(t *testing.T, b *bundle.Bundle, norms supernet.Norms, arch string) (right, images int) {
	t.Helper()
	a, err := b.Net.Space.Parse(arch)
	if err != nil {
		t.Fatal(err)
	}
	p, err := supernet.NewTable(b.Net, norms).Plan(a)
	if err != nil {
		t.Fatal(err)
	}
	pixels, labels, err := builtin.Samples()
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	return supernet.NewWorker(pool).Correct(p, pixels, labels), len(labels)
}

// TestSubnets runs every served subnet on the built-in images. They are test images, five
// a class, of which some are hard; 80 % is two standard deviations below what the subnets
// reach on all of them.
func TestSubnets(t *testing.T) {
	b := open(t)
	for _, s := range b.Subnets {
		if right, n := correct(t, b, b.Norms, s.Arch); right*100 < 80*n {
			t.Errorf("subnet %s is right on %d of %d images", s.Arch, right, n)
		}
	}
}

// TestStatisticsOfAnother shows why SubnetNorm is there: with the largest subnet's
// statistics, cut to its channels, the smallest one is not much better than guessing.
func TestStatisticsOfAnother(t *testing.T) {
	b := open(t)
	space := b.Net.Space
	large, err := space.Lower(space.Max())
	if err != nil {
		t.Fatal(err)
	}
	byLayer := map[int]supernet.Stats{}
	for i, k := range large.NormKeys() {
		if k != 0 {
			byLayer[large.Ops[i].Layer] = b.Norms[k]
		}
	}
	small, err := space.Lower(space.Min())
	if err != nil {
		t.Fatal(err)
	}
	wrong := supernet.Norms{}
	for i, k := range small.NormKeys() {
		if k != nn.NormKey(0) {
			c := small.Values[small.Ops[i].Out].C
			st := byLayer[small.Ops[i].Layer]
			wrong[k] = supernet.Stats{Mean: st.Mean[:c], Var: st.Var[:c]}
		}
	}
	arch := space.Format(space.Min())
	own, n := correct(t, b, b.Norms, arch)
	other, _ := correct(t, b, wrong, arch)
	t.Logf("%s: %d of %d right with its own statistics, %d with the largest subnet's", arch, own, n, other)
	if other*2 > own {
		t.Errorf("%d of %d right with another subnet's statistics, %d with its own", other, n, own)
	}
}

// TestCompactNormalisations: normalisations in 8 bits cost no subnet more than a tenth of a
// point on the test images, which are read where weft data has put them.
func TestCompactNormalisations(t *testing.T) {
	if testing.Short() {
		t.Skip("46 passes over 10,000 images")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(cache, "weft", "data", "fashion-mnist")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no test images: weft data fashion-mnist gets them")
	}
	set, err := data.Load(t.Context(), "fashion-mnist", data.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	b := open(t)
	pool := kernel.NewPool(2)
	defer pool.Close()
	w := supernet.NewWorker(pool)
	tuning := b.Net.Rule(b.Net.WinogradBytes())
	tables := []*supernet.Table{
		supernet.NewTableWith(b.Net, b.Norms, supernet.Options{Tuning: tuning}),
		supernet.NewTableWith(b.Net, b.Norms, supernet.Options{Tuning: tuning, Compact: true}),
	}
	worst := -1.0
	for _, s := range b.Subnets {
		a, err := b.Net.Space.Parse(s.Arch)
		if err != nil {
			t.Fatal(err)
		}
		var points [2]float64
		for i, table := range tables {
			p, err := table.Plan(a)
			if err != nil {
				t.Fatal(err)
			}
			points[i] = 100 * float64(w.Correct(p, set.Test.Images, set.Test.Labels)) / float64(set.Test.N())
		}
		worst = max(worst, points[0]-points[1])
		if points[1] < points[0]-0.1 {
			t.Errorf("subnet %s has %.2f %% with normalisations in 8 bits, %.2f %% in 32", s.Arch, points[1], points[0])
		}
	}
	t.Logf("%d subnets lose %.2f points at most", len(b.Subnets), worst)
}
