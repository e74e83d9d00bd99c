package pytorch

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"weft/kernel"
	"weft/supernet"
)

// oracle is what bench/ofa/oracle.py writes.
type oracle struct {
	Images, Pixels int
	Checkpoints    []struct {
		File    string
		Subnets []struct{ Arch, Logits string }
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
				want := readFloats(t, filepath.Join(dir, sub.Logits))
				got := make([]float32, len(want))
				supernet.NewWorker(pool).Run(mustPlan(t, b, sub.Arch), images, o.Images, got)
				diff := relative(got, want)
				t.Logf("%.1e %s", diff, sub.Arch)
				if !(diff < 1e-4) {
					t.Errorf("subnet %s differs by %v", sub.Arch, diff)
				}
			}
		})
	}
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
