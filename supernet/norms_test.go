package supernet

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"weft/kernel"
	"weft/nn"
)

// stirred draws what starts at 0 or 1 as well, biases, scales and shifts, so that one that is lost or astray shows.
func stirred(net *Supernet) *Supernet {
	rng := rand.New(rand.NewPCG(8, 8))
	for i := range net.W.Params {
		if slices.Contains([]nn.Role{nn.Bias, nn.Bias2, nn.Gamma, nn.Beta}, net.W.Params[i].Role) {
			vals := net.W.Canonical(net.W.Data, i)
			for j := range vals {
				vals[j] += rng.Float32() - 0.5
			}
			net.W.SetCanonical(net.W.Data, i, vals)
		}
	}
	return net
}

// TestNormsAreOfAllBatches: statistics are the means over all images, whichever batches they come in, of their batch's
// mean and biased variance, here taken from the definitions of the operations.
func TestNormsAreOfAllBatches(t *testing.T) {
	net := stirred(newTestNet(t, "resnet-28s"))
	g := lower(t, net.Space, net.Space.Format(net.Space.Min()))
	pool := kernel.NewPool(1)
	defer pool.Close()
	rng := rand.New(rand.NewPCG(4, 5))
	var batches [][]float32
	want := make([][2][]float64, len(g.Ops))
	sizes, total := []int{2, 6, 1}, 0.0
	for i, n := range sizes { // the images of each batch are brighter and of more contrast than those before
		x := make([]float32, n*net.Space.Input.Size())
		for j := range x {
			x[j] = float32(i) + float32(1+2*i)*rng.Float32()
		}
		batches, total = append(batches, x), total+float64(n)
		for op, moments := range momentsOf(net, g, x, n) {
			for k, v := range moments {
				if want[op][k] == nil {
					want[op][k] = make([]float64, len(v))
				}
				for c := range v {
					want[op][k][c] += float64(n) * v[c]
				}
			}
		}
	}
	norms := Norms{}
	norms.Add(nn.NewExec(net.W, pool, false), g, batches)
	checked := 0
	for i, key := range g.NormKeys() {
		if key == 0 {
			continue
		}
		checked++
		got := [2][]float32{norms[key].Mean, norms[key].Var}
		for k, what := range []string{"mean", "variance"} {
			if len(got[k]) != g.Values[g.Ops[i].Out].C || len(want[i][k]) != len(got[k]) {
				t.Fatalf("%s: a %s of %d channels", g.Layers[g.Ops[i].Layer].Name, what, len(got[k]))
			}
			for c, v := range got[k] {
				if w := want[i][k][c] / total; !(math.Abs(float64(v)-w) <= 1e-3*(1+math.Abs(w))) {
					t.Fatalf("%s, channel %d: %s %v, want %v", g.Layers[g.Ops[i].Layer].Name, c, what, v, w)
				}
			}
		}
	}
	if checked == 0 || checked != len(norms) {
		t.Errorf("%d layers, %d statistics", checked, len(norms))
	}
}

// momentsOf runs a graph of basic blocks on n images with batch statistics, and returns every convolution's mean and
// biased variance by channel. It is slow and in float64.
func momentsOf(net *Supernet, g *nn.Graph, x []float32, n int) [][2][]float64 {
	vals, moments := make([][]float64, len(g.Values)), make([][2][]float64, len(g.Ops))
	vals[0] = make([]float64, len(x))
	for i, v := range x {
		vals[0][i] = float64(v)
	}
	for i := range g.Ops {
		op := &g.Ops[i]
		if op.Kind != nn.Conv {
			break // behind all statistics
		}
		y := convolved(net, g, op, vals[op.In], n)
		c := g.Values[op.Out].C
		mean, variance, rows := make([]float64, c), make([]float64, c), float64(len(y)/c)
		for j, v := range y {
			mean[j%c] += v / rows
		}
		for j, v := range y {
			variance[j%c] += (v - mean[j%c]) * (v - mean[j%c]) / rows
		}
		moments[i] = [2][]float64{mean, variance}
		gamma, beta := net.W.Of(net.W.Data, op.Layer, nn.Gamma), net.W.Of(net.W.Data, op.Layer, nn.Beta)
		for j, v := range y {
			y[j] = (v-mean[j%c])/math.Sqrt(variance[j%c]+nn.Eps)*float64(gamma[j%c]) + float64(beta[j%c])
			if op.Res >= 0 {
				y[j] += vals[op.Res][j]
			}
			if op.Act == kernel.ReLU {
				y[j] = max(y[j], 0)
			}
		}
		vals[op.Out] = y
	}
	return moments
}

// convolved is a convolution with the first channels of a layer, of images that are 0 outside.
func convolved(net *Supernet, g *nn.Graph, op *nn.Op, x []float64, n int) []float64 {
	in, out, p := g.Values[op.In], g.Values[op.Out], (op.K-1)/2
	w, most := net.W.Canonical(net.W.Data, net.W.Find(op.Layer, nn.Weight)), g.Layers[op.Layer].In
	y := make([]float64, n*out.Size())
	for at := range y {
		o, ox, oy, image := at%out.C, at/out.C%out.W, at/out.C/out.W%out.H, at/out.Size()
		for tap := range op.K * op.K {
			iy, ix := oy*op.Stride+tap/op.K-p, ox*op.Stride+tap%op.K-p
			if iy < 0 || iy >= in.H || ix < 0 || ix >= in.W {
				continue
			}
			for c := range in.C {
				y[at] += x[((image*in.H+iy)*in.W+ix)*in.C+c] * float64(w[(o*op.K*op.K+tap)*most+c])
			}
		}
	}
	return y
}

// TestNormsAreShared: a subnet that differs in its last stage alone adds statistics for that stage alone and leaves those
// that are there; the table then serves both as if each had its own.
func TestNormsAreShared(t *testing.T) {
	net := newTestNet(t, "resnet-28s")
	pool := kernel.NewPool(1)
	defer pool.Close()
	e := nn.NewExec(net.W, pool, false)
	const n = 4
	images := testImages(net.Space, n)
	x := [][]float32{normalised(net, images)}
	a := net.Space.Max()
	narrow, shallow := a, a
	last := len(net.Space.Stages) - 1
	narrow.Expand[net.Space.block(last, 0)] = 0
	shallow.Depth[last] = 0
	shallow.Expand[net.Space.block(last, 1)] = 0 // of the block that is skipped
	norms := Norms{}
	for _, c := range []struct {
		arch  Arch
		added int
	}{
		{a, 16}, // of the stem, and in each of three stages of two blocks of two convolutions and of a shortcut
		{a, 0},
		{narrow, 4}, // of the last stage's convolutions; its shortcut's are as before
		{shallow, 0},
	} {
		before := maps.Clone(norms)
		g := lower(t, net.Space, net.Space.Format(c.arch))
		if added := norms.Add(e, g, x); added != c.added || len(norms) != len(before)+added {
			t.Errorf("%s: %d statistics were added to %d and make %d, want %d", net.Space.Format(c.arch), added, len(before), len(norms), c.added)
		}
		for key, old := range before {
			if !slices.Equal(norms[key].Mean, old.Mean) || !slices.Equal(norms[key].Var, old.Var) {
				t.Fatalf("%s: statistics that were there have changed", net.Space.Format(c.arch))
			}
		}
	}
	for _, arch := range []Arch{a, narrow, shallow} {
		p, err := NewTable(net, norms).Plan(arch)
		if err != nil {
			t.Fatal(err)
		}
		g := lower(t, net.Space, net.Space.Format(arch))
		z, got := e.Forward(g, x[0], n), make([]float32, n*10)
		NewWorker(pool).Run(p, images, n, got)
		for i := range n {
			if want := z[i*g.Pitch():][:10]; !closeTo(got[i*10:][:10], want, 2e-4) {
				t.Errorf("%s, image %d: %v, with statistics of its own %v", net.Space.Format(arch), i, got[i*10:][:10], want)
			}
		}
	}
}
