package supernet

import (
	"cmp"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"weft/kernel"
	"weft/nn"
)

// spacesForTest are small enough to run several subnets of.
var spacesForTest = []string{"resnet-28s", "mbv3-28-k35", "resnet-32"}

func newTestNet(t testing.TB, name string) *Supernet {
	t.Helper()
	s, err := Find(name, 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	return New(s, []float32{0.5, 0.4, 0.3}, []float32{0.2, 0.3, 0.25}, rand.New(rand.NewPCG(7, 7)))
}

func testImages(s *Space, n int) []float32 {
	rng := rand.New(rand.NewPCG(1, 9))
	x := make([]float32, n*s.Input.Size())
	for i := range x {
		x[i] = rng.Float32()
	}
	return x
}

// normalised is what training sees of pixel/255.
func normalised(net *Supernet, x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = (v - net.Mean[i%3]) / net.Std[i%3]
	}
	return y
}

func closeTo(a, b []float32, tol float64) bool {
	for i := range a {
		if d := math.Abs(float64(a[i] - b[i])); !(d <= tol*(1+math.Abs(float64(b[i])))) {
			return false
		}
	}
	return true
}

// TestPlanAgreesWithTraining: calibrated on one batch, a plan must compute on that batch
// what the training pass computed with the batch's own statistics, for any number of
// threads and images at a time.
func TestPlanAgreesWithTraining(t *testing.T) {
	for _, name := range spacesForTest {
		t.Run(name, func(t *testing.T) {
			net := newTestNet(t, name)
			pool := kernel.NewPool(2)
			defer pool.Close()
			const n = 6
			x := testImages(net.Space, n)
			e := nn.NewExec(net.W, pool, false)
			norms := Norms{}
			rng := rand.New(rand.NewPCG(5, 6))
			archs := []Arch{net.Space.Max(), net.Space.Min()}
			for range 3 {
				archs = append(archs, net.Space.Sample(rng, Sampling{ElasticKernel: true}))
			}
			for _, a := range archs {
				g, err := net.Space.Lower(a)
				if err != nil {
					t.Fatal(err)
				}
				clear(norms) // shared statistics of another subnet are those of the same batch anyway
				norms.Add(e, g, [][]float32{normalised(net, x)})
				z := e.Forward(g, normalised(net, x), n)
				p, err := NewTable(net, norms).Plan(a)
				if err != nil {
					t.Fatal(err)
				}
				w := NewWorker(pool)
				got := make([]float32, n*10)
				w.Run(p, x, n, got)
				one := make([]float32, 10)
				for i := range n {
					want := z[i*g.Pitch():][:10]
					if !closeTo(got[i*10:][:10], want, 2e-4) {
						t.Fatalf("%s image %d: plan says %v, training %v", net.Space.Format(a), i, got[i*10:][:10], want)
					}
					w.Run(p, x[i*net.Space.Input.Size():], 1, one)
					if !closeTo(one, want, 2e-4) {
						t.Fatalf("%s image %d alone: %v, in the batch %v", net.Space.Format(a), i, one, want)
					}
				}
			}
		})
	}
}

// TestActuationAllocatesNothing alternates between subnets.
func TestActuationAllocatesNothing(t *testing.T) {
	net := newTestNet(t, "resnet-28s")
	pool := kernel.NewPool(2)
	defer pool.Close()
	e := nn.NewExec(net.W, pool, false)
	norms := Norms{}
	table := NewTable(net, norms)
	var plans []*Plan
	x := testImages(net.Space, 4)
	for _, a := range []Arch{net.Space.Max(), net.Space.Min()} {
		g, _ := net.Space.Lower(a)
		norms.Add(e, g, [][]float32{x})
		p, err := table.Plan(a)
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, p)
	}
	w := NewWorker(pool)
	logits := make([]float32, 40)
	i := 0
	if n := testing.AllocsPerRun(50, func() {
		w.Run(plans[i%2], x, 4, logits)
		i++
	}); n != 0 {
		t.Fatalf("%v allocations a batch", n)
	}
}

// TestSortKeepsTheFunction: sorting channels changes no logit of the largest subnet beyond rounding, and momentum goes
// where the weights go.
func TestSortKeepsTheFunction(t *testing.T) {
	for _, net := range sortable(t) {
		pool := kernel.NewPool(1)
		x := testImages(net.Space, 5)
		g, _ := net.Space.Lower(net.Space.Max())
		e := nn.NewExec(net.W, pool, false)
		before := append([]float32(nil), e.Forward(g, x, 5)...)
		for i, sort := range []func([]Arch, ...[]float32) error{net.SortChannels, net.SortWidths} {
			old := append([]float32(nil), net.W.Data...)
			velocity := append([]float32(nil), net.W.Data...)
			if err := sort(nil, velocity); err != nil {
				t.Fatal(err)
			}
			e.Changed()
			if after := e.Forward(g, x, 5); !closeTo(after, before, 1e-3) {
				t.Errorf("%s: sorting changed the logits", net.Space.Name)
			}
			elastic := i == 0 || len(net.Space.Widths) > 1 // widths alone may be fixed
			if same, moved := slices.Equal(velocity, net.W.Data), !slices.Equal(old, net.W.Data); !same || moved != elastic {
				t.Errorf("%s: momentum followed: %v, weights moved: %v", net.Space.Name, same, moved)
			}
		}
		pool.Close()
	}
}

// sortable are networks of every family of blocks.
func sortable(t *testing.T) []*Supernet {
	var nets []*Supernet
	for _, name := range spacesForTest {
		nets = append(nets, stirred(newTestNet(t, name)))
	}
	ones := []float32{1, 1, 1}
	return append(nets, stirred(New(smallBottleneck(), ones, ones, rand.New(rand.NewPCG(7, 7)))))
}

// TestSortChannels: the middle channels of every block, and the hidden ones of every squeeze-and-excite, come in falling
// order of the absolute weights that read them, wherever these are.
func TestSortChannels(t *testing.T) {
	reader := regexp.MustCompile(`^s\d+\.b\d+\.(conv[23]|project)$`)
	for _, net := range sortable(t) {
		if err := net.SortChannels(nil); err != nil {
			t.Fatal(err)
		}
		sorted := 0
		for i := range net.W.Layers {
			l := &net.W.Layers[i]
			role := nn.Weight
			if l.Kind == nn.SE {
				role = nn.Weight2
			} else if !reader.MatchString(l.Name) {
				continue
			}
			p := net.W.Find(i, role)
			shape := net.W.Params[p].Shape
			reads := make([]float64, shape[len(shape)-1])
			for j, w := range net.W.Canonical(net.W.Data, p) {
				reads[j%len(reads)] += math.Abs(float64(w))
			}
			for c := range len(reads) - 1 {
				if reads[c] < reads[c+1]*(1-1e-6) {
					t.Errorf("%s: channel %d of what %s reads weighs %v, the next %v", net.Space.Name, c, l.Name, reads[c], reads[c+1])
					break
				}
			}
			sorted++
		}
		blocks := 0
		for m := range net.Space.Stages {
			blocks += net.Space.maxDepth(m)
		}
		if sorted < blocks {
			t.Errorf("%s: %d layers looked at in %d blocks", net.Space.Name, sorted, blocks)
		}
	}
}

// TestSortKeepsTrainedSubnets: a subnet that is kept computes the same function after sorting, one that is not does not,
// and without one to keep neither does.
func TestSortKeepsTrainedSubnets(t *testing.T) {
	for _, name := range []string{"resnet-28s", "mbv3-28"} {
		for _, keep := range []bool{true, false} {
			net := newTestNet(t, name)
			narrow := net.Space.Max()
			for i := range narrow.Expand {
				if narrow.Expand[i] > 0 {
					narrow.Expand[i] = 1
				}
			}
			pool := kernel.NewPool(1)
			x := testImages(net.Space, 5)
			e := nn.NewExec(net.W, pool, false)
			logits := func(a Arch) []float32 {
				g, err := net.Space.Lower(a)
				if err != nil {
					t.Fatal(err)
				}
				return append([]float32(nil), e.Forward(g, x, 5)...)
			}
			archs := []Arch{net.Space.Max(), narrow, net.Space.Min()}
			var before [][]float32
			for _, a := range archs {
				before = append(before, logits(a))
			}
			var kept []Arch
			if keep {
				kept = archs[:2]
			}
			if err := net.SortChannels(kept); err != nil {
				t.Fatal(err)
			}
			e.Changed()
			for i, a := range archs {
				if want, same := i == 0 || i == 1 && keep, closeTo(logits(a), before[i], 1e-3); same != want {
					t.Errorf("%s, kept %v: %s computes the same: %v", name, keep, net.Space.Format(a), same)
				}
			}
			pool.Close()
		}
	}
}

// TestSortWidths: the outputs of stages move where widths vary, and nowhere else, and come in falling order of the
// weights that read them; a subnet of a smaller width that is kept computes what it did.
func TestSortWidths(t *testing.T) {
	for _, name := range spacesForTest {
		net := newTestNet(t, name)
		before := append([]float32(nil), net.W.Data...)
		if err := net.SortWidths(nil); err != nil {
			t.Fatal(err)
		}
		if moved := !slices.Equal(before, net.W.Data); moved != (len(net.Space.Widths) > 1) {
			t.Errorf("%s: weights moved: %v", name, moved)
		}
		if norms := readers(net, "s3.b1.conv1", "fc"); len(net.Space.Widths) > 1 && net.Space.Family == Basic &&
			!slices.IsSortedFunc(norms, func(a, b float64) int { return cmp.Compare(b, a) }) {
			t.Errorf("%s: the outputs of the last stage weigh %v", name, norms)
		}
	}
	net := newTestNet(t, "resnet-28s")
	thin := net.Space.Max()
	thin.Width = [MaxSlots]uint8{}
	x := testImages(net.Space, 4)
	pool := kernel.NewPool(1)
	defer pool.Close()
	e := nn.NewExec(net.W, pool, false)
	g, err := net.Space.Lower(thin)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]float32(nil), e.Forward(g, x, 4)...)
	if err := net.SortWidths([]Arch{thin}); err != nil {
		t.Fatal(err)
	}
	e.Changed()
	if got := e.Forward(g, x, 4); !closeTo(got, want, 1e-3) {
		t.Error("the thin subnet was kept and computes something else")
	}
}

// readers sums the importance of channels over the layers that read them.
func readers(net *Supernet, layers ...string) []float64 {
	var sum []float64
	for i := range net.W.Layers {
		if slices.Contains(layers, net.W.Layers[i].Name) {
			norms := net.inputNorms(i, nn.Weight)
			if sum == nil {
				sum = make([]float64, len(norms))
			}
			for c := range norms {
				sum[c] += norms[c]
			}
		}
	}
	return sum
}

// TestTuningsAgree: a plan computes the same, but for rounding, with all layers computed directly, by rule, and with
// transformed weights wherever they can be used, and says so of its layers.
func TestTuningsAgree(t *testing.T) {
	for _, name := range []string{"resnet-28s", "resnet-32"} {
		net := newTestNet(t, name)
		rng := rand.New(rand.NewPCG(3, 4))
		norms := Norms{}
		const n = 5
		x := testImages(net.Space, n)
		pool := kernel.NewPool(2)
		defer pool.Close()
		for _, a := range []Arch{net.Space.Max(), net.Space.Min(), net.Space.Sample(rng, Sampling{})} {
			madeUp(t, net.Space, norms, a, rng)
			var want []float32
			for _, bytes := range []int{0, net.WinogradBytes(), 1 << 30} {
				table := NewTableWith(net, norms, Options{Tuning: net.Rule(bytes)})
				p, err := table.Plan(a)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]float32, n*p.Classes)
				NewWorker(pool).Run(p, x, n, got)
				if want == nil {
					want = got
				}
				if !closeTo(got, want, 1e-3) {
					t.Errorf("%s: %v with %d bytes of transformed weights, directly %v", net.Space.Format(a), got, bytes, want)
				}
				used := 0
				for _, u := range table.wino {
					used += 4 * len(u)
				}
				if used > bytes || bytes > 0 && used == 0 {
					t.Errorf("%s: %d bytes of transformed weights of %d", net.Space.Format(a), used, bytes)
				}
				tiles := 0
				for _, l := range p.describe(n) {
					if l.Kernel != "direct" {
						tiles++
					}
				}
				if (tiles > 0) != (bytes > 0) {
					t.Errorf("%s: %d layers by Winograd's algorithm with %d bytes", net.Space.Format(a), tiles, bytes)
				}
			}
		}
	}
}
