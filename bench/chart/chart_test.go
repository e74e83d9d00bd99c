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
		Groups: [][]Series{
			{{Name: "first", XY: plotter.XYs{{X: 1, Y: 0.5}, {X: 10, Y: 2}}}},
			{{Name: "second", XY: plotter.XYs{{X: 2, Y: 1}, {X: 3, Y: 1}}, Line: true}, {Name: "nothing"}},
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
	for _, text := range []string{"ratios", "first", "second"} {
		if !strings.Contains(string(raw), text) {
			t.Errorf("%q is not in the picture", text)
		}
	}
}

func TestPointsThatHaveNoPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.svg")
	p := Plot{Groups: [][]Series{{{Name: "bad", XY: plotter.XYs{{X: 0, Y: 1}}}}}}
	if err := p.Write(path); err == nil || !strings.Contains(err.Error(), "bad") {
		t.Errorf("zero on a logarithmic axis: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was written")
	}
}
