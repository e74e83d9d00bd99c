package builtin_test

import (
	"testing"

	"weft/bundle"
	"weft/bundle/builtin"
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
