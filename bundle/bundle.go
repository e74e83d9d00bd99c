// Package bundle reads and writes the file that users pass around: a trained supernet
// with everything that serving any of its subnets takes. The format is documented to the
// byte in docs/formats/bundle.md; the sidecar with latencies measured on one machine, in
// docs/formats/profile.md.
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"weft/nn"
	"weft/safetensors"
	"weft/supernet"
)

// Version is the version of the format that this package writes, and the newest it reads.
const Version = 1

// metaKey is where a bundle keeps its description in the header's metadata.
const metaKey = "weft"

// Bundle is a supernet with the statistics of its served subnets.
type Bundle struct {
	Info
	Net    *supernet.Supernet
	Norms  supernet.Norms
	Ranges supernet.Ranges // of the activations, for int8; nil without
}

// Info describes a bundle.
type Info struct {
	Format     int             `json:"format"`
	Name       string          `json:"name"` // of the model, when served
	Space      json.RawMessage `json:"space"`
	Mean       []float32       `json:"mean"` // of pixel/255, per channel
	Std        []float32       `json:"std"`
	ClassNames []string        `json:"class_names"`
	Subnets    []Subnet        `json:"subnets"`        // the Pareto set, by rising accuracy
	Int8       []Subnet        `json:"int8,omitempty"` // those served in int8 too, likewise, as accurate as they are then
	Provenance Provenance      `json:"provenance"`
}

// Subnet is one entry of the Pareto set.
type Subnet struct {
	Arch     string  `json:"arch"`
	Accuracy float64 `json:"accuracy"`                // on the validation images, 0..1
	Test     float64 `json:"test_accuracy,omitempty"` // on the test images, measured once the set was chosen
	MACs     int     `json:"macs"`
	Params   int     `json:"params"`
}

// Provenance says where a bundle comes from.
type Provenance struct {
	Weft        string          `json:"weft"`              // version of the program that wrote it
	Data        string          `json:"data"`              // data set
	DataDigest  string          `json:"data_digest"`       // of its files
	Recipe      json.RawMessage `json:"recipe,omitempty"`  // configuration of the training run
	Flops       float64         `json:"flops,omitempty"`   // spent on training
	Seconds     float64         `json:"seconds,omitempty"` // likewise
	Calibration int             `json:"calibration_images"`
	ValImages   int             `json:"val_images"`
	TestImages  int             `json:"test_images,omitempty"`
	Evaluated   int             `json:"evaluated_subnets"`
	Seed        uint64          `json:"seed"` // of the search
}

// Names of the tensors that hold the statistics.
const (
	normKeys     = "norm.keys"     // I64 [entries]: nn.NormKey, bit for bit
	normChannels = "norm.channels" // I32 [entries]
	normMean     = "norm.mean"     // F32 [sum of channels]
	normVar      = "norm.var"      // F32 [sum of channels]
	weightPrefix = "weights."
)

// maxHalf is the largest value that F16 holds.
const maxHalf = 65504

// Encode returns the bundle as a file. half stores weights as F16, at half the size;
// statistics stay F32. It refuses what Decode would refuse.
func (b *Bundle) Encode(half bool) (*safetensors.File, error) {
	out := Bundle{Info: b.Info, Net: b.Net, Norms: b.Norms, Ranges: b.Ranges}
	out.Format, out.Mean, out.Std = Version, b.Net.Mean, b.Net.Std
	var err error
	if out.Space, err = json.Marshal(b.Net.Space); err != nil {
		return nil, err
	}
	if err := out.check(); err != nil {
		return nil, err
	}
	meta, err := json.Marshal(out.Info)
	if err != nil {
		return nil, err
	}
	f := &safetensors.File{Metadata: map[string]string{metaKey: string(meta)}}
	if f.Tensors, err = encodeWeights(b.Net.W, half); err != nil {
		return nil, err
	}
	norms, err := encodeNorms(b.Norms)
	if err != nil {
		return nil, err
	}
	ranges, err := encodeRanges(b.Ranges)
	f.Tensors = append(append(f.Tensors, norms...), ranges...)
	return f, err
}

// Halve rounds weights to those that a file with half of the size holds.
func Halve(w *nn.Weights) error {
	for i := range w.Params {
		if err := checkWeights(w.Params[i].Name, w.Canonical(w.Data, i), maxHalf); err != nil {
			return err
		}
	}
	for i, v := range w.Data {
		w.Data[i] = safetensors.FromF16(safetensors.ToF16(v))
	}
	return nil
}

func checkWeights(name string, vals []float32, limit float32) error {
	for _, v := range vals {
		switch {
		case v-v != 0:
			return fmt.Errorf("weight %s holds %v: the training run diverged; train again with a lower --lr", name, v)
		case max(v, -v) > limit:
			return fmt.Errorf("weight %s holds %v, more than fp16 can (%v); write the bundle without --half", name, v, limit)
		}
	}
	return nil
}

func encodeWeights(w *nn.Weights, half bool) ([]safetensors.Tensor, error) {
	limit, encode := float32(math.MaxFloat32), safetensors.NewF32
	if half {
		limit, encode = maxHalf, safetensors.NewF16
	}
	tensors := make([]safetensors.Tensor, len(w.Params))
	for i := range w.Params {
		p := &w.Params[i]
		vals := w.Canonical(w.Data, i)
		if err := checkWeights(p.Name, vals, limit); err != nil {
			return nil, err
		}
		tensors[i] = encode(weightPrefix+p.Name, p.Shape, vals)
	}
	return tensors, nil
}

func encodeNorms(norms supernet.Norms) ([]safetensors.Tensor, error) {
	keys := slices.Sorted(maps.Keys(norms))
	ids, channels := make([]int64, len(keys)), make([]int32, len(keys))
	var mean, variance []float32
	for i, k := range keys {
		st := norms[k]
		if err := checkStats(st); err != nil {
			return nil, fmt.Errorf("normalisation entry %d: %w", i, err)
		}
		ids[i], channels[i] = int64(k), int32(len(st.Mean))
		mean = append(mean, st.Mean...)
		variance = append(variance, st.Var...)
	}
	return []safetensors.Tensor{
		safetensors.NewI64(normKeys, []int{len(ids)}, ids),
		safetensors.NewI32(normChannels, []int{len(channels)}, channels),
		safetensors.NewF32(normMean, []int{len(mean)}, mean),
		safetensors.NewF32(normVar, []int{len(variance)}, variance),
	}, nil
}

// Write writes the bundle to path, whole or not at all.
func (b *Bundle) Write(path string, half bool) error {
	f, err := b.Encode(half)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.WriteFile(path)
}

// Read reads the bundle at path.
func Read(path string) (*Bundle, error) {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b, err := Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// Decode reads a bundle from a file that package safetensors read, and checks that every
// served subnet is complete.
func Decode(f *safetensors.File) (*Bundle, error) {
	b := &Bundle{}
	if err := b.Info.decode(f.Metadata); err != nil {
		return nil, err
	}
	space, err := supernet.Decode(b.Space)
	if err != nil {
		return nil, err
	}
	tensors := f.ByName()
	if err := checkSizes(space.Layers(), tensors); err != nil {
		return nil, err
	}
	b.Net = &supernet.Supernet{Space: space, W: nn.NewWeights(space.Layers()), Mean: b.Mean, Std: b.Std}
	if err := readWeights(b.Net.W, tensors); err != nil {
		return nil, err
	}
	if b.Norms, err = decodeNorms(tensors); err != nil {
		return nil, err
	}
	if b.Ranges, err = decodeRanges(tensors); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, nil
}

// decode reads the description; its version first, since a newer one may differ in all
// else.
func (d *Info) decode(metadata map[string]string) error {
	text, ok := metadata[metaKey]
	if !ok {
		return fmt.Errorf("this is a safetensors file but not a bundle of weft: its metadata has no %q", metaKey)
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal([]byte(text), &version); err != nil {
		return fmt.Errorf("the bundle's description is damaged: %w", err)
	}
	switch {
	case version.Format < 1:
		return errors.New("the bundle's description is damaged: it names no format")
	case version.Format > Version:
		return fmt.Errorf("the bundle has format %d and this weft reads up to %d; use a newer weft", version.Format, Version)
	}
	if err := json.Unmarshal([]byte(text), d); err != nil {
		return fmt.Errorf("the bundle's description is damaged: %w", err)
	}
	return nil
}

func readWeights(w *nn.Weights, tensors map[string]*safetensors.Tensor) error {
	for i := range w.Params {
		p := &w.Params[i]
		t := tensors[weightPrefix+p.Name]
		if t == nil {
			return missing(weightPrefix + p.Name)
		}
		if !slices.Equal(t.Shape, p.Shape) {
			return fmt.Errorf("tensor %s has shape %v and the bundle's space asks for %v; write the bundle again with weft search", t.Name, t.Shape, p.Shape)
		}
		vals, err := t.F32()
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(vals, func(v float32) bool { return v-v != 0 }); i >= 0 {
			return fmt.Errorf("tensor %s holds %v at %d; the bundle is damaged", t.Name, vals[i], i)
		}
		w.SetCanonical(w.Data, i, vals)
	}
	return nil
}

func missing(name string) error {
	return fmt.Errorf("tensor %s is missing; write the bundle again with weft search", name)
}

func decodeNorms(tensors map[string]*safetensors.Tensor) (supernet.Norms, error) {
	for _, name := range []string{normKeys, normChannels, normMean, normVar} {
		t := tensors[name]
		if t == nil {
			return nil, missing(name)
		}
		if len(t.Shape) != 1 {
			return nil, fmt.Errorf("tensor %s has shape %v instead of one dimension; the bundle is damaged", name, t.Shape)
		}
	}
	keys, err := tensors[normKeys].I64()
	if err != nil {
		return nil, err
	}
	channels, err := tensors[normChannels].I32()
	if err != nil {
		return nil, err
	}
	mean, err := tensors[normMean].F32()
	if err != nil {
		return nil, err
	}
	variance, err := tensors[normVar].F32()
	if err != nil {
		return nil, err
	}
	if len(keys) != len(channels) || len(mean) != len(variance) {
		return nil, fmt.Errorf("the normalisation statistics have %d keys for %d entries and %d means for %d variances; the bundle is damaged",
			len(keys), len(channels), len(mean), len(variance))
	}
	norms := make(supernet.Norms, len(keys))
	for i, k := range keys {
		c := int(channels[i])
		if c < 1 || c > len(mean) {
			return nil, fmt.Errorf("normalisation entry %d has %d channels and %d values are left; the bundle is damaged", i, c, len(mean))
		}
		st := supernet.Stats{Mean: mean[:c:c], Var: variance[:c:c]}
		if err := checkStats(st); err != nil {
			return nil, fmt.Errorf("normalisation entry %d: %w; the bundle is damaged", i, err)
		}
		if _, twice := norms[nn.NormKey(k)]; twice {
			return nil, fmt.Errorf("normalisation entry %d has the key of another one; the bundle is damaged", i)
		}
		norms[nn.NormKey(k)] = st
		mean, variance = mean[c:], variance[c:]
	}
	if len(mean) != 0 {
		return nil, fmt.Errorf("%d values of the normalisation statistics belong to no entry; the bundle is damaged", len(mean))
	}
	return norms, nil
}
