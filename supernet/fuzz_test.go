package supernet

import (
	"encoding/json"
	"testing"

	"weft/kernel"
	"weft/nn"
	"weft/tensor"
)

// FuzzDecode: a description of a space is an error, or one that is written and
// read again the same, and whose smallest and largest networks are architectures of it.
func FuzzDecode(f *testing.F) {
	for _, name := range Names() {
		b, err := json.Marshal(find(f, name, 10, 3))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	fixed, err := NewFixed("one", tensor.Shape{H: 4, W: 4, C: 1}, []Node{
		{Kind: nn.Conv, Name: "a", In: -1, Res: -1, Out: 8, K: 3, Stride: 1, Norm: true, Act: kernel.ReLU},
	})
	if err == nil {
		b, err := json.Marshal(fixed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"name":"x","family":"fixed","nodes":[{"kind":"pool","in":-9,"res":99}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err != nil {
			return
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(b)
		if err != nil {
			t.Fatalf("%s is not read again: %v", b, err)
		}
		if b2, err := json.Marshal(again); err != nil || string(b2) != string(b) {
			t.Fatalf("%s came back as %s, %v", b, b2, err)
		}
		for _, a := range []Arch{s.Min(), s.Max()} {
			if back, err := s.Parse(s.Format(a)); err != nil || back != a || !s.Contains(a) {
				t.Fatalf("%s of %s came back as %+v, %v", s.Format(a), b, back, err)
			}
		}
	})
}
