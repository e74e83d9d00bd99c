package nets

import (
	"math"
	"testing"

	"weft/tensor"
)

func TestSpaces(t *testing.T) {
	for name, pixels := range map[string]int{ResNet20: 32, "resnet-32": 224, "ofa-resnet50d": 32, "ofa-mbv3": 224} {
		s, err := Space(name, pixels)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Input.H != pixels || s.Input.C != 3 {
			t.Errorf("%s at %d pixels takes %v", name, pixels, s.Input)
		}
	}
	if _, err := Space("none", 32); err == nil {
		t.Error("an unknown space: no error")
	}
}

func TestResNet20HasThePapersSize(t *testing.T) {
	s, err := Space(ResNet20, 32)
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Lower(s.Max())
	if err != nil {
		t.Fatal(err)
	}
	// 40.55 M MACs with free shortcuts (He et al.), and two 1x1 projections of 131,072 each.
	if m := g.MACs(); m != 40_551_040+2*131_072 {
		t.Errorf("%d MACs", m)
	}
}

func TestUniform(t *testing.T) {
	s, err := Space("resnet-32", 32)
	if err != nil {
		t.Fatal(err)
	}
	names := Uniform(s, 6)
	if len(names) != 6 || names[0] != s.Format(s.Min()) || names[5] != s.Format(s.Max()) {
		t.Errorf("six subnets: %v", names)
	}
	if one := Uniform(s, 1); len(one) != 1 || one[0] != s.Format(s.Max()) {
		t.Errorf("one subnet: %v", one)
	}
	if all := Uniform(s, 1000); len(all) != len(s.Uniform()) {
		t.Errorf("%d of %d subnets", len(all), len(s.Uniform()))
	}
}

func TestImages(t *testing.T) {
	shape := tensor.Shape{H: 5, W: 4, C: 3}
	x := Images(shape, 2)
	if len(x) != 2*shape.Size() {
		t.Fatalf("%d values", len(x))
	}
	for _, v := range x {
		if v < 0 || v > 1 {
			t.Fatalf("pixel %v", v)
		}
	}
	y := Planar(x, shape, 2)
	// Image 1, row 2, column 3, channel 1.
	got, want := y[(1*3+1)*20+2*4+3], (x[(1*20+2*4+3)*3+1]-Mean[1])/Std[1]
	if math.Abs(float64(got-want)) > 1e-6 {
		t.Errorf("planar pixel %v, want %v", got, want)
	}
}
