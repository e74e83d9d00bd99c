package bundle

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/kernel"
	"weft/safetensors"
	"weft/supernet"
)

// int8Bundle is smallBundle with two of its subnets in int8. Tests share it and must not
// change it.
var int8Bundle = sync.OnceValue(func() *Bundle {
	b := *smallBundle()
	b.Ranges = supernet.Ranges{}
	pool := kernel.NewPool(1)
	defer pool.Close()
	for i, s := range b.Subnets[:2] {
		a, err := b.Net.Space.Parse(s.Arch)
		if err != nil {
			panic(err)
		}
		if _, err := b.Ranges.Add(b.Net, b.Norms, a, [][]float32{noise(b.Net.Space, 4)}, pool); err != nil {
			panic(err)
		}
		s.Accuracy = 0.55 + 0.2*float64(i)
		b.Int8 = append(b.Int8, s)
	}
	return &b
})

// TestInt8RoundTrip: ranges and int8 subnets come back, and points are in order.
func TestInt8RoundTrip(t *testing.T) {
	b := int8Bundle()
	got, err := decodeBytes(fileBytes(t, b, false))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.Ranges, got.Ranges); diff != "" {
		t.Errorf("ranges differ:\n%s", diff)
	}
	if diff := cmp.Diff(b.Int8, got.Int8); diff != "" {
		t.Errorf("int8 subnets differ:\n%s", diff)
	}
	var names []string
	for _, p := range got.Points() {
		names = append(names, p.Name())
	}
	want := []string{testArchs[0], testArchs[0] + "@int8", testArchs[1], testArchs[2], testArchs[1] + "@int8"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("points differ:\n%s", diff)
	}
	for _, s := range got.Int8 {
		a, err := got.Net.Space.Parse(s.Arch)
		if err != nil {
			t.Fatal(err)
		}
		p, err := supernet.NewInt8(got.Net, got.Norms, got.Ranges).Plan(a)
		if err != nil {
			t.Fatal(err)
		}
		if !p.Int8() {
			t.Errorf("the plan of %s is not int8", s.Arch)
		}
	}
}

// TestInt8IsOptional: a bundle without int8 says nothing of it.
func TestInt8IsOptional(t *testing.T) {
	f, err := smallBundle().Encode(false)
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := json.Unmarshal([]byte(f.Metadata[metaKey]), &d); err != nil {
		t.Fatal(err)
	}
	if _, ok := d["int8"]; ok || f.ByName()[rangeKeys] != nil {
		t.Error("a bundle without int8 has a list of it, or ranges")
	}
	if points := smallBundle().Points(); len(points) != len(testArchs) {
		t.Errorf("%d points for %d subnets", len(points), len(testArchs))
	}
}

func TestInt8Refuses(t *testing.T) {
	nan := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.NaN())))
	high := binary.LittleEndian.AppendUint32(nil, math.Float32bits(1e9))
	entry := func(key string, v any) func(description, *safetensors.File) {
		return described(func(d description) { d["int8"].([]any)[1].(map[string]any)[key] = v })
	}
	for name, c := range map[string]struct {
		change func(description, *safetensors.File)
		want   string
	}{
		"no keys":       {without(rangeKeys), "tensor int8.keys is missing; write the bundle again with weft quantise"},
		"no counts":     {without(rangeCounts), "tensor int8.counts is missing"},
		"no ranges":     {without(rangeEnds), "tensor int8.ranges is missing"},
		"keys of F32":   {with(safetensors.NewF32(rangeKeys, []int{1}, []float32{1})), `tensor "int8.keys" has type F32`},
		"too few keys":  {with(safetensors.NewI64(rangeKeys, []int{1}, []int64{1})), "1 keys for"},
		"no count":      {patched(rangeCounts, func(b []byte) { clear(b[:4]) }), "entry 0 has 0 ranges"},
		"minus a count": {patched(rangeCounts, func(b []byte) { b[3] = 0x80 }), "entry 0 has -"},
		"a large count": {patched(rangeCounts, func(b []byte) { b[0] = 5 }), "entry 0 has 5 ranges"},
		"another count": {patched(rangeCounts, func(b []byte) { b[0] ^= 3 }), ""},
		"key twice":     {patched(rangeKeys, func(b []byte) { copy(b[8:16], b[:8]) }), "entry 1 has the key of another one"},
		"another key":   {patched(rangeKeys, func(b []byte) { b[0]++ }), "has no ranges of the activations of operation"},
		"NaN":           {patched(rangeEnds, func(b []byte) { copy(b, nan) }), "entry 0 reaches from NaN"},
		"backwards":     {patched(rangeEnds, func(b []byte) { copy(b, high) }), "entry 0 reaches from 1e+09"},
		"accuracy":      {entry("accuracy", 1.5), "accuracy 1.5"},
		"order":         {entry("accuracy", 0.01), "comes after a more accurate one"},
		"twice":         {entry("arch", testArchs[0]), "is listed twice"},
		"no statistics": {entry("arch", "d2_e25_w50"), "has no statistics"},
		"no int8":       {entry("arch", testArchs[2]), "has no ranges of the activations of operation"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := int8Bundle().Encode(false)
			if err != nil {
				t.Fatal(err)
			}
			var d description
			if err := json.Unmarshal([]byte(f.Metadata[metaKey]), &d); err != nil {
				t.Fatal(err)
			}
			delete(d["provenance"].(map[string]any), "seed") // more digits than a float64 has
			f.Tensors = slices.Clone(f.Tensors)
			c.change(d, f)
			text, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			f.Metadata[metaKey] = string(text)
			refuses(t, f, c.want)
		})
	}
}
