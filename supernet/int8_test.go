package supernet

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/kernel"
	"weft/nn"
	"weft/quant"
)

// net8 is a supernet with statistics and ranges of some subnets.
type net8 struct {
	net    *Supernet
	norms  Norms
	ranges Ranges
	archs  []Arch
}

// nets8 are the networks made so far; tests must not change them.
var nets8 = map[string]net8{}

func newNet8(t testing.TB, name string) net8 {
	t.Helper()
	n, ok := nets8[name]
	if !ok {
		n = makeNet8(t, name)
		nets8[name] = n
	}
	return n
}

func makeNet8(t testing.TB, name string) net8 {
	t.Helper()
	space := smallBottleneck()
	if name != space.Name {
		space = find(t, strings.TrimSuffix(name, "@8"), 10, 3)
	}
	if strings.HasSuffix(name, "@8") { // images so small that taps read nothing but padding
		var err error
		if space, err = space.At(8); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(5, 5))
	n := net8{
		net:   New(space, []float32{0.5, 0.4, 0.3}, []float32{0.2, 0.3, 0.25}, rand.New(rand.NewPCG(7, 7))),
		norms: Norms{}, ranges: Ranges{}, archs: []Arch{space.Min(), space.Max(), space.Sample(rng, Sampling{ElasticKernel: true})},
	}
	for i := range n.net.W.Params { // normalisation that flips some channels and kills others
		if p := &n.net.W.Params[i]; p.Role == nn.Gamma || p.Role == nn.Beta {
			for j := range p.Shape[0] {
				n.net.W.Data[p.Off+j] = float32(rng.NormFloat64())
				if p.Role == nn.Gamma && j%11 == 3 {
					n.net.W.Data[p.Off+j] = 0
				}
			}
		}
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	x := testImages(space, 8)
	e := nn.NewExec(n.net.W, pool, false)
	for _, a := range n.archs {
		g, err := space.Lower(a)
		if err != nil {
			t.Fatal(err)
		}
		n.norms.Add(e, g, [][]float32{normalised(n.net, x)})
		if _, err := n.ranges.Add(n.net, n.norms, a, [][]float32{normalised(n.net, x)}, pool); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

var spaces8 = []string{"resnet-28s", "mbv3-28-k35", "small-bottleneck"}

// TestInt8IsItsDescription: a plan gives bit for bit what a plain interpreter of the formulas in
// package quant makes of the description, which knows neither layouts nor kernels.
func TestInt8IsItsDescription(t *testing.T) {
	for _, name := range append(spaces8, "mbv3-28-k35@8", "resnet-28s@8") {
		t.Run(name, func(t *testing.T) {
			n := newNet8(t, name)
			table := NewInt8(n.net, n.norms, n.ranges)
			pool := kernel.NewPool(1)
			defer pool.Close()
			w := NewWorker(pool)
			x := testImages(n.net.Space, 2)
			size := n.net.Space.Input.Size()
			for _, a := range n.archs {
				p, err := table.Plan(a)
				if err != nil {
					t.Fatal(err)
				}
				d, err := table.Network(a)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]float32, 2*p.Classes)
				w.Run(p, x, 2, got)
				var want []float32
				for i := range 2 {
					want = append(want, interpret(d, x[i*size:(i+1)*size])...)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: got %v, want %v", n.net.Space.Format(a), got, want)
				}
			}
		})
	}
}

func rne32(v float32) float32 { return float32(math.RoundToEven(float64(v))) }

func clampTo8(v float32) uint8 { return uint8(max(0, min(255, v))) }

// interpret computes the logits of one image.
func interpret(n *quant.Network, image []float32) []float32 {
	vals := make([][]uint8, len(n.Values))
	in := n.Values[0]
	vals[0] = make([]uint8, in.Size())
	for i, v := range image {
		c := i % in.C
		vals[0][i] = clampTo8(rne32((v-n.Mean[c])*(1/(n.Std[c]*in.Scale))) + float32(in.Zero))
	}
	for i := range n.Ops {
		o := &n.Ops[i]
		if o.Kind == quant.FC {
			return interpretConv(n, o, vals[o.In], nil).logits
		}
		x, y := n.Values[o.In], n.Values[o.Out]
		out := make([]uint8, y.Size())
		switch o.Kind {
		case quant.Conv, quant.Depthwise:
			var res []uint8
			if o.Res >= 0 {
				res = vals[o.Res]
			}
			out = interpretConv(n, o, vals[o.In], res).bytes
		case quant.Add:
			for j := range out {
				out[j] = sum8(x.Params, n.Values[o.Res].Params, y.Params, vals[o.In][j], vals[o.Res][j])
			}
		case quant.Mul:
			g := n.Values[o.Res]
			for j := range out {
				p := (int32(vals[o.In][j]) - int32(x.Zero)) * (int32(vals[o.Res][j%x.C]) - int32(g.Zero))
				out[j] = clampTo8(rne32(float32(p)*(x.Scale*g.Scale/y.Scale)) + float32(y.Zero))
			}
		case quant.GlobalPool:
			for c := range out {
				var s int32
				for p := range x.Pixels() {
					s += int32(vals[o.In][p*x.C+c]) - int32(x.Zero)
				}
				out[c] = clampTo8(rne32(float32(s)*(x.Scale/(y.Scale*float32(x.Pixels())))) + float32(y.Zero))
			}
		default:
			interpretPool(n, o, vals[o.In], out)
		}
		vals[o.Out] = out
	}
	return nil
}

func sum8(a, b, y quant.Params, p, q uint8) uint8 {
	ra, rb := a.Scale/y.Scale, b.Scale/y.Scale
	c := float32(y.Zero) - float32(math.FMA(float64(ra), float64(a.Zero), float64(rb*float32(b.Zero))))
	inner := float32(math.FMA(float64(q), float64(rb), float64(c)))
	return clampTo8(rne32(float32(math.FMA(float64(p), float64(ra), float64(inner)))))
}

func interpretPool(n *quant.Network, o *quant.Op, x, y []uint8) {
	in, out := n.Values[o.In], n.Values[o.Out]
	for i := range y {
		c, ox, oy := i%out.C, i/out.C%out.W, i/out.C/out.W
		var best, sum, count int32
		for _, t := range kernel.Raster(o.K) {
			if py, px := oy*o.Stride+t.DY, ox*o.Stride+t.DX; py >= 0 && py < in.H && px >= 0 && px < in.W {
				v := int32(x[(py*in.W+px)*in.C+c])
				best, sum, count = max(best, v), sum+v, count+1
			}
		}
		y[i] = uint8(best)
		if o.Kind == quant.AvgPool {
			y[i] = uint8(rne32(float32(sum) / float32(count)))
		}
	}
}

type interpreted struct {
	bytes  []uint8
	logits []float32
}

func interpretConv(n *quant.Network, o *quant.Op, x, res []uint8) (r interpreted) {
	in, out := n.Values[o.In], n.Values[o.Out]
	for i := range out.Size() {
		c, ox, oy := i%out.C, i/out.C%out.W, i/out.C/out.W
		sum := o.Bias[c]
		if o.Kind == quant.FC {
			for k, v := range x {
				sum += (int32(v) - int32(in.Zero)) * int32(o.W.At(c, 0, k))
			}
			r.logits = append(r.logits, float32(sum)*float32(in.Scale*o.WScale[c]))
			continue
		}
		taps := kernel.Raster(o.K)
		if o.Kind == quant.Depthwise {
			taps = kernel.Rings(o.K)
		}
		for k, t := range taps {
			py, px := oy*o.Stride+t.DY, ox*o.Stride+t.DX
			if py < 0 || py >= in.H || px < 0 || px >= in.W {
				continue
			}
			p := x[(py*in.W+px)*in.C:][:in.C]
			if o.Kind == quant.Depthwise {
				sum += (int32(p[c]) - int32(in.Zero)) * int32(o.W.At(c, k, 0))
				continue
			}
			for ci, v := range p {
				sum += (int32(v) - int32(in.Zero)) * int32(o.W.At(c, k, ci))
			}
		}
		q := clampTo8(rne32(float32(sum)*(float32(in.Scale*o.WScale[c])/o.Own.Scale)) + float32(o.Own.Zero))
		switch {
		case res != nil:
			q = sum8(o.Own, n.Values[o.Res].Params, out.Params, q, res[i])
		case o.Looked():
			v := o.Own.Value(q)
			h := min(max(float32(v*(1.0/6))+0.5, 0), 1)
			if o.Act == kernel.HSwish {
				h *= v
			}
			q = clampTo8(rne32(h/out.Scale) + float32(out.Zero))
		}
		r.bytes = append(r.bytes, q)
	}
	return r
}

// TestInt8IsNearFloat: quantisation costs little, on networks whose weights mean nothing.
func TestInt8IsNearFloat(t *testing.T) {
	for _, name := range spaces8 {
		t.Run(name, func(t *testing.T) {
			n := newNet8(t, name)
			pool := kernel.NewPool(1)
			defer pool.Close()
			w := NewWorker(pool)
			x := testImages(n.net.Space, 8)
			for _, a := range n.archs {
				p, err := NewInt8(n.net, n.norms, n.ranges).Plan(a)
				if err != nil {
					t.Fatal(err)
				}
				f, err := NewTable(n.net, n.norms).Plan(a)
				if err != nil {
					t.Fatal(err)
				}
				got, want := make([]float32, 8*p.Classes), make([]float32, 8*p.Classes)
				w.Run(p, x, 8, got)
				w.Run(f, x, 8, want)
				if r := correlation(got, want); r < 0.9 {
					t.Errorf("%s: logits correlate by %.3f", n.net.Space.Format(a), r)
				}
			}
		})
	}
}

func correlation(a, b []float32) float64 {
	var ma, mb, saa, sbb, sab float64
	for i := range a {
		ma, mb = ma+float64(a[i])/float64(len(a)), mb+float64(b[i])/float64(len(a))
	}
	for i := range a {
		x, y := float64(a[i])-ma, float64(b[i])-mb
		saa, sbb, sab = saa+x*x, sbb+y*y, sab+x*y
	}
	return sab / math.Sqrt(saa*sbb)
}

// TestInt8ThreadsTiersAndBatches: any number of threads, any tier and any batch give the
// same bits.
func TestInt8ThreadsTiersAndBatches(t *testing.T) {
	for _, name := range spaces8 {
		n := newNet8(t, name)
		p, err := NewInt8(n.net, n.norms, n.ranges).Plan(n.archs[1])
		if err != nil {
			t.Fatal(err)
		}
		const images = 5
		x := testImages(n.net.Space, images)
		var want []float32
		for _, tier := range kernel.Tiers() {
			func() {
				defer kernel.UseTier(tier)()
				for threads := 1; threads <= 3; threads++ {
					pool := kernel.NewPool(threads)
					defer pool.Close()
					w := NewWorker(pool)
					for _, batch := range []int{images, 1, 2} {
						got := make([]float32, images*p.Classes)
						for lo := 0; lo < images; lo += batch {
							k := min(batch, images-lo)
							w.Run(p, x[lo*p.Input.Size():], k, got[lo*p.Classes:])
						}
						if want == nil {
							want = got
						}
						if !slices.Equal(got, want) {
							t.Fatalf("%s: tier %s, %d threads, batches of %d: got %v, want %v", name, tier, threads, batch, got, want)
						}
					}
				}
			}()
		}
	}
}

// TestInt8SharesEveryOperation: the same bits come of it when threads share operations that
// are too small for it.
func TestInt8SharesEveryOperation(t *testing.T) {
	defer func(n int) { shareMACs = n }(shareMACs)
	for _, name := range append(spaces8, "resnet-28s@8") {
		n := newNet8(t, name)
		for _, a := range n.archs {
			p, err := NewInt8(n.net, n.norms, n.ranges).Plan(a)
			if err != nil {
				t.Fatal(err)
			}
			x := testImages(n.net.Space, 3)
			var want []float32
			for threads := 1; threads <= 3; threads++ {
				shareMACs = 0
				pool := kernel.NewPool(threads)
				w := NewWorker(pool)
				for images := 1; images <= 3; images += 2 {
					got := make([]float32, 3*p.Classes)
					w.Run(p, x, images, got)
					got = got[:p.Classes]
					if want == nil {
						want = got
					}
					if !slices.Equal(got, want) {
						t.Fatalf("%s: %d threads, %d images: got %v, want %v", name, threads, images, got, want)
					}
				}
				pool.Close()
			}
		}
	}
}

// TestInt8Winograd: plans that may compute 3x3 layers by Winograd's algorithm give the same
// bits as those that may not, and keep to their memory.
func TestInt8Winograd(t *testing.T) {
	if !kernel.FastWinograd8() {
		t.Skip("this machine computes all layers directly")
	}
	n := newNet8(t, "resnet-32")
	x := testImages(n.net.Space, 9)
	for _, threads := range []int{1, 2} {
		pool := kernel.NewPool(threads)
		defer pool.Close()
		w := NewWorker(pool)
		var want []float32
		for _, bytes := range []int{0, 1 << 20, 1 << 30} {
			table := NewInt8(n.net, n.norms, n.ranges)
			table.WinogradBytes = bytes
			p, err := table.Plan(n.net.Space.Max())
			if err != nil {
				t.Fatal(err)
			}
			got := make([]float32, 9*p.Classes)
			w.Run(p, x, 9, got)
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d threads: %d bytes for transformed weights change the logits", threads, bytes)
			}
			tiled := slices.ContainsFunc(w.Layers(p, x, 9, 1, time.Now), func(l Layer) bool { return l.Kernel == "int8 winograd-4" })
			_, took, _ := table.Bytes()
			if took > bytes || tiled != (took > 0) {
				t.Errorf("%d bytes of transformed weights of at most %d, used: %v", took, bytes, tiled)
			}
			if bytes == 1<<30 && !tiled {
				t.Error("no layer is computed by tiles")
			}
			if allocs := testing.AllocsPerRun(20, func() { w.Run(p, x, 9, got) }); allocs != 0 {
				t.Errorf("%d threads, %d bytes for transformed weights: %v allocations a run", threads, bytes, allocs)
			}
		}
	}
}

// TestInt8AllocatesNothing: switching between plans costs no memory.
func TestInt8AllocatesNothing(t *testing.T) {
	for _, name := range spaces8 {
		n := newNet8(t, name)
		table := NewInt8(n.net, n.norms, n.ranges)
		pool := kernel.NewPool(2)
		defer pool.Close()
		w := NewWorker(pool)
		var plans []*Plan
		for _, a := range n.archs {
			p, err := table.Plan(a)
			if err != nil {
				t.Fatal(err)
			}
			w.Reserve(p, 3)
			plans = append(plans, p)
		}
		x, y := testImages(n.net.Space, 3), make([]float32, 30)
		if got := testing.AllocsPerRun(20, func() { // enough to leave out what goroutines that park cost the runtime once
			for _, p := range plans {
				w.Run(p, x, 3, y)
				w.Run(p, x, 1, y)
			}
		}); got != 0 {
			t.Errorf("%s: %v allocations a round", name, got)
		}
	}
}

// TestInt8SharesWeights: all subnets use one copy.
func TestInt8SharesWeights(t *testing.T) {
	n := newNet8(t, "resnet-28s")
	table := NewInt8(n.net, n.norms, n.ranges)
	if _, err := table.Plan(n.net.Space.Max()); err != nil {
		t.Fatal(err)
	}
	all, _, _ := table.Bytes()
	for _, a := range n.archs {
		if _, err := table.Plan(a); err != nil {
			t.Fatal(err)
		}
	}
	_, _, before := table.Bytes()
	for _, a := range n.archs { // once more: everything is there
		if _, err := table.Plan(a); err != nil {
			t.Fatal(err)
		}
	}
	got, _, tables := table.Bytes()
	if tables != before {
		t.Errorf("%d bytes of tables for plans made twice, %d for plans made once", tables, before)
	}
	if got != all {
		t.Errorf("%d bytes of weights for all subnets, %d for the largest alone", got, all)
	}
	if got, limit := all, len(n.net.W.Data)*3/2; got > limit {
		t.Errorf("%d bytes of weights, expected at most %d", got, limit)
	}
}

// TestInt8NeedsRanges: a subnet that was not calibrated is an error, not a wrong answer.
func TestInt8NeedsRanges(t *testing.T) {
	n := newNet8(t, "resnet-28s")
	if _, err := NewInt8(n.net, n.norms, Ranges{}).Plan(n.archs[0]); err == nil {
		t.Error("no error without ranges")
	}
	if _, err := NewInt8(n.net, Norms{}, n.ranges).Plan(n.archs[0]); err == nil {
		t.Error("no error without statistics")
	}
	fixed := fixedSpace(t)
	net, norms, ranges := New(fixed, make([]float32, fixed.Input.C), slices.Repeat([]float32{1}, fixed.Input.C), rand.New(rand.NewPCG(1, 2))), Norms{}, Ranges{}
	madeUp(t, fixed, norms, fixed.Max(), rand.New(rand.NewPCG(1, 2)))
	madeUpRanges(t, fixed, ranges, fixed.Max())
	if _, err := NewInt8(net, norms, ranges).Plan(fixed.Max()); err == nil || !strings.Contains(err.Error(), "fc") {
		t.Errorf("a fully connected layer before the end: %v", err)
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	if added, err := n.ranges.Add(n.net, n.norms, n.archs[1], nil, pool); err != nil || added != 0 {
		t.Errorf("calibrated again: %d entries, %v", added, err)
	}
}
