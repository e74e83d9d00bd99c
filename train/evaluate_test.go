package train

import (
	"math"
	"slices"
	"testing"

	"weft/data"
	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// TestValidationImagesJudge: what a run records, at the ends of epochs and around its switch, is how many of the
// validation images each subnet is right on, counted here by hand; the test images, the same with each other's labels,
// would give another share of an odd number.
func TestValidationImagesJudge(t *testing.T) {
	set := squares(64)
	set.Val = set.Val.Slice(0, 99)
	set.Test = data.Split{Images: set.Val.Images, Labels: slices.Clone(set.Val.Labels)}
	for i, l := range set.Val.Labels {
		set.Test.Labels[i] = 1 - l
	}
	c := recipeConfig("deps")
	c.Epochs, c.Batch, c.MixUp = 2, 16, 1
	small(&c)
	tr := newTrainer(t, c, set)
	tr.Random, tr.Probe = 1, 2
	var steps []int
	names := map[string]bool{}
	tr.Observe = func(m Metrics) {
		if len(m.Eval) > 0 {
			steps = append(steps, m.Step)
		}
		for _, e := range m.Eval {
			names[e.Net] = true
			if want := rightOn(t, tr, e.Subnet, set.Val); e.Accuracy != want {
				t.Errorf("step %d: the accuracy of %s, %s, is %.4f, want %.4f", m.Step, e.Net, e.Subnet, e.Accuracy, want)
			}
		}
	}
	if err := tr.Run(t.Context(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(steps, []int{2, 4, 6, 8}) || len(names) != 4 {
		t.Errorf("evaluated were %v at steps %v", names, steps)
	}
}

// rightOn is the share of images that a subnet of a run in progress is right on.
func rightOn(t *testing.T, tr *Trainer, subnet string, on data.Split) float64 {
	t.Helper()
	a, err := tr.Net.Space.Parse(subnet)
	if err != nil {
		t.Fatal(err)
	}
	g, err := tr.Net.Space.Lower(a)
	if err != nil {
		t.Fatal(err)
	}
	calib, err := tr.Config.Calibration(tr.Set, 1000)
	if err != nil {
		t.Fatal(err)
	}
	pool, norms := kernel.NewPool(1), supernet.Norms{}
	defer pool.Close()
	norms.Add(nn.NewExec(tr.Net.W, pool, false), g, calib)
	p, err := supernet.NewTable(tr.Net, norms).Plan(a)
	if err != nil {
		t.Fatal(err)
	}
	x, z := make([]float32, len(on.Images)), make([]float32, on.N()*p.Classes)
	for i, v := range on.Images {
		x[i] = float32(v) / 255
	}
	supernet.NewWorker(pool).Run(p, x, on.N(), z)
	right := 0
	for i, label := range on.Labels {
		own := z[i*p.Classes:][:p.Classes]
		if own[label] == slices.Max(own) {
			right++
		}
	}
	return float64(right) / float64(on.N())
}

// TestCalibration: subnets are calibrated on training images, each once, varied one by one as in training but never
// mixed, in batches of up to 200.
func TestCalibration(t *testing.T) {
	set := squares(450)
	c := recipeConfig("deps")
	c.Pad, c.Flip, c.MixUp, c.CutMix = 0, true, 1, 1
	unseen := map[string]bool{}
	for i := range set.Train.N() {
		unseen[string(set.Train.Image(i))] = true
	}
	batches, err := c.Calibration(set, 250)
	if err != nil {
		t.Fatal(err)
	}
	size := set.ImageSize()
	if len(batches) != 2 || len(batches[0]) != 200*size || len(batches[1]) != 50*size {
		t.Fatalf("%d batches", len(batches))
	}
	mirrored := 0
	for x := range slices.Chunk(slices.Concat(batches...), size) {
		pixels, turned := make([]byte, size), make([]byte, size)
		for i, v := range x {
			p := math.Round(255 * (float64(v)*float64(set.Std[0]) + float64(set.Mean[0])))
			pixels[i], turned[i/set.W*set.W+set.W-1-i%set.W] = byte(p), byte(p)
		}
		switch {
		case unseen[string(pixels)]:
			delete(unseen, string(pixels))
		case unseen[string(turned)]:
			delete(unseen, string(turned))
			mirrored++
		default:
			t.Fatal("an image is none of the training images, or one for the second time")
		}
	}
	if mirrored < 75 || mirrored > 175 {
		t.Errorf("%d of 250 images are mirrored", mirrored)
	}
}
