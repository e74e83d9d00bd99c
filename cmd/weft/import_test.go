package main

import (
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/spf13/cobra"

	"weft/bundle"
	"weft/data"
	"weft/supernet"
)

// An imported supernet is recalibrated and measured: its statistics are complete, and its
// subnets are those that no other beats, by rising accuracy.
func TestMeasureImported(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "squares")
	if err := drawSquares(dir); err != nil {
		t.Fatal(err)
	}
	space, err := supernet.Find("resnet-28s", 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle.Bundle{Net: supernet.New(space, []float32{0.5}, []float32{0.25}, rand.New(rand.NewPCG(1, 1)))}
	b.Name = "squares"
	for _, a := range []supernet.Arch{space.Max(), space.Min(), space.Uniform()[2]} {
		b.Subnets = append(b.Subnets, bundle.Subnet{Arch: space.Format(a)})
	}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	cmd.SetErr(io.Discard)
	job := measureJob{data: dir, calibration: 50, threads: 1, quiet: true}
	if err := job.run(cmd, b); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Encode(false); err != nil {
		t.Error(err)
	}
	if n := len(b.Subnets); n < 2 || n > 3 {
		t.Errorf("%d subnets are left", n)
	}
	for _, s := range b.Subnets {
		if s.Accuracy != s.Test || s.MACs == 0 || s.Params == 0 {
			t.Errorf("measured %+v", s)
		}
	}
	if p := b.Provenance; p.Calibration != 50 || p.TestImages != 20 || p.Data != dir || !slices.Equal(b.ClassNames, []string{"left", "right"}) {
		t.Errorf("classes %v, provenance %+v", b.ClassNames, p)
	}
}

// Calibration images are normalised as the network expects, not by the data set's moments.
func TestPlainSample(t *testing.T) {
	set := &data.Set{H: 2, W: 2, C: 1, Classes: 1, Mean: []float32{0.9}, Std: []float32{0.1}}
	for i := range 40 {
		set.Train.Images = append(set.Train.Images, uint8(i))
	}
	set.Train.Labels = make([]int32, 10)
	batches, err := plainSample(&supernet.Supernet{Mean: []float32{0.5}, Std: []float32{0.25}}, set, 10)
	if err != nil {
		t.Fatal(err)
	}
	var pixels []int
	for _, v := range slices.Concat(batches...) {
		pixels = append(pixels, int(math.Round(float64(v*0.25+0.5)*255)))
	}
	slices.Sort(pixels)
	for i, v := range pixels {
		if v != i {
			t.Fatalf("pixels %v", pixels)
		}
	}
	if len(pixels) != 40 || set.Mean[0] != 0.9 {
		t.Errorf("%d pixels; the set's mean is %v", len(pixels), set.Mean)
	}
}
