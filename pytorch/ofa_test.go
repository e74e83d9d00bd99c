package pytorch

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"weft/bundle"
	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// oracle is what bench/ofa/oracle.py writes.
type oracle struct {
	Images, Pixels int
	Checkpoints    []struct {
		File    string
		Subnets []struct{ Arch, Logits, Calibrated string }
	}
}

// TestOFA compares imported supernets with OFA's own code, subnet by subnet.
func TestOFA(t *testing.T) {
	dir := os.Getenv("WEFT_OFA_ORACLE")
	if dir == "" {
		t.Skip("WEFT_OFA_ORACLE names no folder: bench/ofa/oracle.py writes one")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "oracle.json"))
	if err != nil {
		t.Fatal(err)
	}
	var o oracle
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	images := readFloats(t, filepath.Join(dir, "images.f32"))
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, c := range o.Checkpoints {
		t.Run(c.File, func(t *testing.T) {
			s, err := ReadFile(filepath.Join(dir, c.File))
			if err != nil {
				t.Fatal(err)
			}
			var archs []string
			for _, sub := range c.Subnets {
				archs = append(archs, sub.Arch)
			}
			b, err := Import(s, Options{Pixels: o.Pixels, Subnets: archs})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("space %s, %d subnets listed", b.Net.Space.Name, len(b.Subnets))
			for _, sub := range c.Subnets {
				asIs := compare(t, mustPlan(t, b, sub.Arch), pool, images, filepath.Join(dir, sub.Logits))
				again := *b
				again.Norms = calibrated(t, b, sub.Arch, images, pool)
				fresh := compare(t, mustPlan(t, &again, sub.Arch), pool, images, filepath.Join(dir, sub.Calibrated))
				t.Logf("%.1e, recalibrated %.1e: %s", asIs, fresh, sub.Arch)
				if !(asIs < 1e-4 && fresh < 1e-4) {
					t.Errorf("subnet %s differs by %v, recalibrated by %v", sub.Arch, asIs, fresh)
				}
			}
		})
	}
}

// compare runs a plan and returns how far its logits are from those in a file.
func compare(t *testing.T, p *supernet.Plan, pool *kernel.Pool, images []float32, file string) float64 {
	t.Helper()
	want := readFloats(t, file)
	got := make([]float32, len(want))
	supernet.NewWorker(pool).Run(p, images, len(images)/p.Input.Size(), got)
	return relative(got, want)
}

// calibrated measures the statistics of one subnet on images, pixel/255.
func calibrated(t *testing.T, b *bundle.Bundle, arch string, images []float32, pool *kernel.Pool) supernet.Norms {
	t.Helper()
	a, err := b.Net.Space.Parse(arch)
	if err != nil {
		t.Fatal(err)
	}
	g, err := b.Net.Space.Lower(a)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, len(images))
	for i := range x {
		c := i % len(b.Net.Mean)
		x[i] = (images[i] - b.Net.Mean[c]) / b.Net.Std[c]
	}
	norms := supernet.Norms{}
	norms.Add(nn.NewExec(b.Net.W, pool, false), g, [][]float32{x})
	return norms
}

// relative returns the largest difference over the largest value.
func relative(got, want []float32) float64 {
	var diff, size float64
	for i := range want {
		diff = max(diff, math.Abs(float64(got[i])-float64(want[i])))
		size = max(size, math.Abs(float64(want[i])))
	}
	return diff / size
}

func readFloats(t *testing.T, path string) []float32 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}
