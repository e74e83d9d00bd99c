package quant

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weft/kernel"
)

// TestParams: 0 is exact, values in the range come back within half a step, others are
// clamped, and quantising what a byte stands for gives the byte.
func TestParams(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float32Range(-1e6, 1e6).Draw(t, "a"), rapid.Float32Range(-1e6, 1e6).Draw(t, "b")
		r := Range{min(a, b), max(a, b)}
		p := r.Params()
		if v := p.Value(p.Quantise(0)); v != 0 {
			t.Fatalf("0 becomes %v", v)
		}
		q := rapid.Byte().Draw(t, "q")
		if got := p.Quantise(p.Value(q)); got != q {
			t.Fatalf("byte %d stands for %v, which becomes %d", q, p.Value(q), got)
		}
		x := min(max(rapid.Float32Range(-1e6, 1e6).Draw(t, "x"), min(r.Lo, 0)), max(r.Hi, 0))
		// The zero point is rounded too, so that the ends may lie half a step outside.
		if d := math.Abs(float64(p.Value(p.Quantise(x)) - x)); d > 1.001*float64(p.Scale)+1e-6 {
			t.Fatalf("%v becomes %v with steps of %v", x, p.Value(p.Quantise(x)), p.Scale)
		}
	})
}

func TestQuantiseSpecials(t *testing.T) {
	p := Params{Scale: 0.5, Zero: 100}
	for _, c := range []struct {
		x    float32
		want uint8
	}{
		{0, 100},
		{0.25, 100},
		{0.75, 102},
		{-0.25, 100},
		{1e30, 255},
		{-1e30, 0},
		{float32(math.Inf(1)), 255},
		{float32(math.Inf(-1)), 0},
		{float32(math.NaN()), 0},
	} {
		if got := p.Quantise(c.x); got != c.want {
			t.Errorf("%v becomes %d, want %d", c.x, got, c.want)
		}
	}
}

// TestTable: a table is within half a step of the activation of what its index stands for.
func TestTable(t *testing.T) {
	in := Range{-3, 5}.Params()
	for _, a := range []kernel.Act{kernel.ReLU, kernel.HSwish, kernel.HSigmoid} {
		out := Range{-3, 5}.Act(a).Params()
		for q, y := range Table(a, in, out) {
			x := float64(in.Value(uint8(q)))
			want := map[kernel.Act]float64{
				kernel.ReLU: max(x, 0), kernel.HSigmoid: min(max(x/6+0.5, 0), 1), kernel.HSwish: x * min(max(x/6+0.5, 0), 1),
			}[a]
			if d := math.Abs(float64(out.Value(y)) - want); d > 0.51*float64(out.Scale) {
				t.Errorf("%v of %v is %v, want %v", a, x, out.Value(y), want)
			}
		}
	}
}

// TestActRange: Act bounds the activation over a range, and what Before cuts off does not
// change results.
func TestActRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float32Range(-8, 8).Draw(t, "a"), rapid.Float32Range(-8, 8).Draw(t, "b")
		r := Range{min(a, b), max(a, b)}
		x := r.Lo + (r.Hi-r.Lo)*rapid.Float32Range(0, 1).Draw(t, "x")
		act := kernel.Act(rapid.IntRange(0, 3).Draw(t, "act"))
		f := func(x float32) float32 {
			switch act {
			case kernel.ReLU:
				return max(x, 0)
			case kernel.HSigmoid:
				return hardSigmoid(x)
			case kernel.HSwish:
				return x * hardSigmoid(x)
			}
			return x
		}
		y, out := f(x), r.Act(act)
		if y < out.Lo-1e-5 || y > out.Hi+1e-5 {
			t.Fatalf("%v(%v) = %v outside %v", act, x, y, out)
		}
		if got := f(Range{x, x}.Before(act).Lo); math.Abs(float64(got-y)) > 1e-6 {
			t.Fatalf("%v(%v) = %v, and %v after the cut", act, x, y, got)
		}
	})
}

// TestHistogram: a range for normal values with few outliers leaves the outliers out; one
// for uniform values is all of them.
func TestHistogram(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var normal, uniform Histogram
	values := make([]float32, 200000)
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	values[7], values[8] = 12, float32(math.NaN())
	normal.Add(values)
	if r := normal.Range(); r.Hi > 9 || r.Hi < 2.5 || r.Lo > -2.5 {
		t.Errorf("range %v for normal values with one of 12", r)
	}
	if r := normal.MinMax(); r.Hi != 12 {
		t.Errorf("greatest value %v, want 12", r.Hi)
	}
	for i := range values {
		values[i] = rng.Float32() * 0.03
	}
	uniform.Add(values[:100])
	uniform.Add(values[100:])
	if r := uniform.Range(); r.Lo != 0 || r.Hi < 0.029 || r.Hi > 0.03 {
		t.Errorf("range %v for values from 0 to 0.03", r)
	}
	if r := new(Histogram).Range(); r != (Range{}) {
		t.Errorf("range %v for nothing", r)
	}
}

// TestWeights: weights come back within half a step wherever they stand, zero is exact,
// and the largest of a channel uses all 63 steps.
func TestWeights(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	taps := make([]int32, 49)
	for i := range taps {
		taps[i] = int32(i)
	}
	for _, s := range []struct{ out, taps, in int }{{24, 9, 16}, {16, 9, 3}, {8, 9, 1}, {40, 1, 8}, {16, 49, 3}} {
		packed := make([]float32, kernel.PackedLen(s.out, s.taps, s.in))
		for i := range packed {
			packed[i] = float32(rng.NormFloat64())
		}
		w, err := NewDense(packed, s.out, s.taps, s.in)
		if err != nil {
			t.Fatal(err)
		}
		for o := range s.out {
			var sum, top int32
			for tap := range s.taps {
				for i := range s.in {
					q := int32(w.At(o, tap, i))
					sum, top = sum+q, max(top, q, -q)
					x := packed[kernel.PackedIndex(s.taps, s.in, o, tap, i)]
					if d := math.Abs(float64(float32(q)*w.Scale[o] - x)); d > 0.501*float64(w.Scale[o]) {
						t.Fatalf("%v: weight %v is %v", s, x, float32(q)*w.Scale[o])
					}
				}
			}
			if got := w.Sum(o, s.in, taps[:w.KernelTaps()]); sum != got || top != kernel.MaxWeight8 {
				t.Errorf("%v: output %d sums to %d, want %d; largest %d", s, o, got, sum, top)
			}
		}
	}
	if _, err := NewDense(make([]float32, kernel.PackedLen(8, 2, 3)), 8, 2, 3); err == nil {
		t.Error("no error for two taps of three inputs")
	}
}

// TestAffine: biases fit 31 bits whatever the normalisation, and stand for the shift.
func TestAffine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &Weights{Scale: []float32{rapid.Float32Range(1e-9, 1).Draw(t, "weight")}, Out: 1}
		scale := []float32{rapid.Float32Range(-10, 10).Draw(t, "scale")}
		shift := []float32{rapid.Float32Range(-100, 100).Draw(t, "shift")}
		sx := rapid.Float32Range(1e-6, 10).Draw(t, "sx")
		o := Op{W: w}
		o.Affine(sx, scale, shift, 1)
		if b := o.Bias[0]; b > kernel.MaxBias8 || b < -kernel.MaxBias8 {
			t.Fatalf("bias %d", b)
		}
		step := math.Abs(float64(sx) * float64(o.WScale[0]))
		if d := math.Abs(float64(o.Bias[0])*float64(sx)*float64(o.WScale[0]) - float64(shift[0])); d > 0.501*step {
			t.Fatalf("bias stands for %v off the shift %v by %v steps", o.Bias[0], shift[0], d/step)
		}
	})
}

// TestNotFinite: weights that no byte can stand for are refused; values are passed over.
func TestNotFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		w := make([]float32, kernel.PackedLen(16, 1, 8))
		w[kernel.PackedIndex(1, 8, 3, 0, 5)] = bad
		if _, err := NewDense(w, 16, 1, 8); err == nil || !strings.Contains(err.Error(), "output channel 3 is not finite") {
			t.Errorf("dense weights with %v: %v", bad, err)
		}
		if _, err := NewDepthwise([]float32{1, bad}, 1, 2); err == nil || !strings.Contains(err.Error(), "output channel 1 is not finite") {
			t.Errorf("depthwise weights with %v: %v", bad, err)
		}
		var h Histogram
		h.Add([]float32{bad, 1, 2, bad})
		if r := h.MinMax(); r != (Range{0, 2}) {
			t.Errorf("values with %v range over %v", bad, r)
		}
	}
}

// TestRangeOfZeroWidth: a tensor that is zero everywhere, or of which nothing is known, is
// quantised to bytes that stand for zero.
func TestRangeOfZeroWidth(t *testing.T) {
	var none, zeros, tiny Histogram
	none.Add([]float32{float32(math.NaN())})
	zeros.Add(make([]float32, 100))
	tiny.Add([]float32{0, math.SmallestNonzeroFloat32})
	for name, h := range map[string]*Histogram{"none": &none, "zeros": &zeros, "tiny": &tiny} {
		r := h.Range()
		p := r.Params()
		if !r.Valid() || !(p.Scale > 0) || p.Value(p.Quantise(0)) != 0 {
			t.Errorf("%s: range %v, params %v", name, r, p)
		}
	}
}
