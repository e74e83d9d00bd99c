package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot/plotter"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.svg")
	p := Plot{
		Title: "ratios", X: "ms", Y: "ratio", LinearY: true, Level: 1,
		Series: []Series{
			{Group: "first", Kind: "round", XY: plotter.XYs{{X: 1, Y: 0.5}, {X: 10, Y: 2}}},
			{Group: "second", XY: plotter.XYs{{X: 2, Y: 1}, {X: 3, Y: 1}}, Line: true},
			{Group: "nothing"},
		},
	}
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(raw)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well formed: %v", err)
		}
	}
	for text, want := range map[string]bool{"ratios": true, "first": true, "round": true, "second": true, "nothing": false} {
		if strings.Contains(string(raw), text) != want {
			t.Errorf("%q is in the picture: %v", text, !want)
		}
	}
}

func TestPointsThatHaveNoPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.svg")
	p := Plot{Series: []Series{{Group: "bad", XY: plotter.XYs{{X: 0, Y: 1}}}}}
	if err := p.Write(path); err == nil || !strings.Contains(err.Error(), "bad") {
		t.Errorf("zero on a logarithmic axis: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was written")
	}
}

func TestASinglePoint(t *testing.T) {
	p := Plot{Series: []Series{{Group: "one", XY: plotter.XYs{{X: 0.5, Y: 1}}}}}
	if err := p.Write(filepath.Join(t.TempDir(), "p.svg")); err != nil {
		t.Error(err)
	}
}
