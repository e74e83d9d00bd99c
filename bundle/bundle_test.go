package bundle

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/kernel"
	"weft/nn"
	"weft/safetensors"
	"weft/supernet"
)

// testArchs are the served subnets of the bundle in these tests.
var testArchs = []string{"d1_e25_w50", "d1-2-1_e50_w50-100-50", "d2_e100_w100"}

// smallBundle returns a bundle of the smallest space with random weights and statistics
// measured on random images. Tests share it and must not change it.
var smallBundle = sync.OnceValue(func() *Bundle {
	space, err := supernet.Find("resnet-28s", 10, 1)
	if err != nil {
		panic(err)
	}
	net := supernet.New(space, []float32{0.3}, []float32{0.35}, rand.New(rand.NewPCG(3, 4)))
	pool := kernel.NewPool(1)
	defer pool.Close()
	b := &Bundle{Net: net, Norms: supernet.Norms{}, Info: Info{
		Name: "tiny", ClassNames: strings.Split("a b c d e f g h i <j>", " "),
		Provenance: Provenance{Weft: "test", Data: "noise", Recipe: json.RawMessage(`{"epochs": 3}`), Calibration: 8, ValImages: 9, Seed: math.MaxUint64},
	}}
	exec := nn.NewExec(net.W, pool, false)
	for i, text := range testArchs {
		a, err := space.Parse(text)
		if err != nil {
			panic(err)
		}
		g, err := space.Lower(a)
		if err != nil {
			panic(err)
		}
		b.Norms.Add(exec, g, [][]float32{noise(space, 8)})
		b.Subnets = append(b.Subnets, Subnet{Arch: text, Accuracy: 0.5 + 0.1*float64(i), Test: 0.5, MACs: g.MACs(), Params: g.Params()})
	}
	return b
})

// noise returns n random images.
func noise(s *supernet.Space, n int) []float32 {
	rng := rand.New(rand.NewPCG(8, 9))
	x := make([]float32, n*s.Input.Size())
	for i := range x {
		x[i] = rng.Float32()
	}
	return x
}

// logits runs every served subnet on four images.
func logits(t *testing.T, b *Bundle) []float32 {
	t.Helper()
	pool := kernel.NewPool(1)
	defer pool.Close()
	table, w := supernet.NewTable(b.Net, b.Norms), supernet.NewWorker(pool)
	out := make([]float32, 0, 40*len(b.Subnets))
	for _, s := range b.Subnets {
		a, err := b.Net.Space.Parse(s.Arch)
		if err != nil {
			t.Fatal(err)
		}
		p, err := table.Plan(a)
		if err != nil {
			t.Fatal(err)
		}
		z := make([]float32, 40)
		w.Run(p, noise(b.Net.Space, 4), 4, z)
		out = append(out, z...)
	}
	return out
}

// fileBytes returns the bundle's file.
func fileBytes(t testing.TB, b *Bundle, half bool) []byte {
	t.Helper()
	f, err := b.Encode(half)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, err := f.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// decodeBytes reads a bundle from its file's bytes.
func decodeBytes(raw []byte) (*Bundle, error) {
	f, err := safetensors.Decode(raw)
	if err != nil {
		return nil, err
	}
	return Decode(f)
}

func TestRoundTrip(t *testing.T) {
	b := smallBundle()
	for _, half := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "net.weft")
		if err := b.Write(path, half); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(b.Net.W.Data)
		if half {
			for i, v := range want {
				want[i] = safetensors.FromF16(safetensors.ToF16(v))
			}
		}
		for i, v := range want {
			if g := got.Net.W.Data[i]; math.Float32bits(g) != math.Float32bits(v) {
				t.Fatalf("half %v: weight %d is %v instead of %v", half, i, g, v)
			}
		}
		if diff := cmp.Diff(b.Norms, got.Norms); diff != "" {
			t.Errorf("half %v: statistics differ:\n%s", half, diff)
		}
		info := got.Info
		if info.Format != Version || !slices.Equal(info.Mean, b.Net.Mean) || !slices.Equal(info.Std, b.Net.Std) || got.Net.Space.Name != "resnet-28s" {
			t.Errorf("half %v: format %d, mean %v, std %v, space %s", half, info.Format, info.Mean, info.Std, got.Net.Space.Name)
		}
		info.Format, info.Space, info.Mean, info.Std = 0, nil, nil, nil // which Encode fills in
		info.Provenance.Recipe = b.Provenance.Recipe                    // compacted
		if diff := cmp.Diff(b.Info, info); diff != "" {
			t.Errorf("half %v: description differs:\n%s", half, diff)
		}
		rounded := *b.Net
		rounded.W = nn.NewWeights(b.Net.Space.Layers())
		copy(rounded.W.Data, want)
		if !slices.Equal(logits(t, got), logits(t, &Bundle{Info: b.Info, Net: &rounded, Norms: b.Norms})) {
			t.Errorf("half %v: the logits differ", half)
		}
	}
}

// TestSameContentSameBytes: neither a second writing, nor reading and writing, nor the
// order of a map changes a byte.
func TestSameContentSameBytes(t *testing.T) {
	b := smallBundle()
	for _, half := range []bool{false, true} {
		want := fileBytes(t, b, half)
		shuffled := *b
		shuffled.Norms = maps.Clone(b.Norms)
		if !bytes.Equal(fileBytes(t, &shuffled, half), want) {
			t.Errorf("half %v: written twice, the bytes differ", half)
		}
		read, err := decodeBytes(want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fileBytes(t, read, half), want) {
			t.Errorf("half %v: read and written again, the bytes differ", half)
		}
	}
}

func TestWriteRefusesWhatReadWould(t *testing.T) {
	good := smallBundle()
	weights := func(v float32) func(*Bundle) {
		return func(b *Bundle) {
			net := *b.Net
			net.W = nn.NewWeights(net.Space.Layers())
			net.W.Data[0] = v
			b.Net = &net
		}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		change     func(*Bundle)
		want       string
		onlyInHalf bool
	}{
		"NaN":           {weights(nan), "weight stem.weight holds NaN: the training run diverged", false},
		"infinite":      {weights(-inf), "holds -Inf: the training run diverged", false},
		"above fp16":    {weights(-65505), "holds -65505, more than fp16 can (65504); write the bundle without --half", true},
		"no statistics": {func(b *Bundle) { b.Norms = nil }, "subnet d1_e25_w50 has no statistics for layer stem; write the bundle again", false},
		"no subnets":    {func(b *Bundle) { b.Subnets = nil }, "names no subnet to serve", false},
		"NaN deviation": {func(b *Bundle) {
			net := *b.Net
			net.Std = []float32{nan}
			b.Net = &net
		}, "deviation NaN", false},
		"statistics": {func(b *Bundle) {
			b.Norms = maps.Clone(b.Norms)
			b.Norms[7] = supernet.Stats{Mean: []float32{1, 2}, Var: []float32{1}}
		}, "2 means and 1 variances", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := *good
			c.change(&b)
			for _, half := range []bool{false, true} {
				path := filepath.Join(t.TempDir(), "net.weft")
				err := b.Write(path, half)
				if c.onlyInHalf && !half {
					if err != nil {
						t.Errorf("fp32: %v", err)
					}
					continue
				}
				if err == nil || !strings.HasPrefix(err.Error(), "write "+path+": ") || !strings.Contains(err.Error(), c.want) {
					t.Errorf("half %v: %v, want %q", half, err, c.want)
				}
				if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
					t.Errorf("half %v: the folder holds %v", half, left)
				}
			}
		})
	}
}

// TestLargestHalf: the largest weight that fp16 holds is written and comes back.
func TestLargestHalf(t *testing.T) {
	b := *smallBundle()
	net := *b.Net
	net.W = nn.NewWeights(net.Space.Layers())
	net.W.Data[0] = -maxHalf
	b.Net = &net
	got, err := decodeBytes(fileBytes(t, &b, true))
	if err != nil || got.Net.W.Data[0] != -maxHalf {
		t.Error(got, err)
	}
}
