package main

import (
	"slices"
	"testing"

	"gonum.org/v1/plot/plotter"

	"weft/kernel/peak"
	"weft/nn"
	"weft/supernet"
)

func TestLine(t *testing.T) {
	r := &peak.Roof{Flops: 100e9}
	want := plotter.XYs{{X: 1, Y: 10}, {X: 10, Y: 100}, {X: 50, Y: 100}}
	if got := line(r, 10e9, 1, 50); !slices.Equal(got, want) {
		t.Errorf("across the ridge: %v, want %v", got, want)
	}
	if got := line(r, 10e9, 20, 50); len(got) != 2 || got[0].Y != 100 || got[1].Y != 100 {
		t.Errorf("beyond the ridge: %v", got)
	}
}

func TestClass(t *testing.T) {
	for want, l := range map[string]supernet.Layer{
		"Winograd":  {Kind: nn.Conv.String(), Kernel: "winograd-4", K: 3},
		"direct":    {Kind: nn.Conv.String(), Kernel: "direct", K: 3},
		"1x1":       {Kind: nn.Conv.String(), Kernel: "direct", K: 1},
		"depthwise": {Kind: nn.Depthwise.String(), Kernel: "direct", K: 5},
	} {
		if got := class(&l); got != want {
			t.Errorf("%+v is %q, want %q", l, got, want)
		}
	}
}

// TestMeasure times the layers of a small network.
func TestMeasure(t *testing.T) {
	layers, err := measure("resnet-28s", 28, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if l.time <= 0 || l.bytes <= 0 {
			t.Errorf("%s: %v, %v bytes", l.name, l.time, l.bytes)
		}
	}
	if len(layers) < 10 {
		t.Errorf("%d layers", len(layers))
	}
}
