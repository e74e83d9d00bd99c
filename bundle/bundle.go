// Package bundle reads and writes the file that users pass around: a trained supernet
// with everything that serving any of its subnets takes. The format is documented to the
// byte in docs/formats/bundle.md; the sidecar with latencies measured on one machine, in
// docs/formats/profile.md.
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
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
	Net   *supernet.Supernet
	Norms supernet.Norms
}

// Info describes a bundle.
type Info struct {
	Format     int             `json:"format"`
	Name       string          `json:"name"` // of the model, when served
	Space      json.RawMessage `json:"space"`
	Mean       []float32       `json:"mean"` // of pixel/255, per channel
	Std        []float32       `json:"std"`
	ClassNames []string        `json:"class_names"`
	Subnets    []Subnet        `json:"subnets"` // the Pareto set, by rising accuracy
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

// Encode returns the bundle as a file. half stores weights as F16, at half the size;
// statistics stay F32.
func (b *Bundle) Encode(half bool) (*safetensors.File, error) {
	info := b.Info
	info.Format = Version
	var err error
	if info.Space, err = json.Marshal(b.Net.Space); err != nil {
		return nil, err
	}
	info.Mean, info.Std = b.Net.Mean, b.Net.Std
	meta, err := json.Marshal(info)
	if err != nil {
		return nil, err
	}
	f := &safetensors.File{Metadata: map[string]string{metaKey: string(meta)}}
	w := b.Net.W
	for i := range w.Params {
		p := &w.Params[i]
		vals := w.Canonical(w.Data, i)
		for _, v := range vals {
			if half && !(math.Abs(float64(v)) <= 65504) || v-v != 0 {
				return nil, fmt.Errorf("weight of %s is %v, which the file cannot hold; the training run diverged", p.Name, v)
			}
		}
		if half {
			f.Tensors = append(f.Tensors, safetensors.NewF16(weightPrefix+p.Name, p.Shape, vals))
		} else {
			f.Tensors = append(f.Tensors, safetensors.NewF32(weightPrefix+p.Name, p.Shape, vals))
		}
	}
	f.Tensors = append(f.Tensors, encodeNorms(b.Norms)...)
	return f, nil
}

func encodeNorms(norms supernet.Norms) []safetensors.Tensor {
	keys := make([]nn.NormKey, 0, len(norms))
	for k := range norms {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	ids, channels := make([]int64, len(keys)), make([]int32, len(keys))
	var mean, variance []float32
	for i, k := range keys {
		ids[i], channels[i] = int64(k), int32(len(norms[k].Mean))
		mean = append(mean, norms[k].Mean...)
		variance = append(variance, norms[k].Var...)
	}
	return []safetensors.Tensor{
		safetensors.NewI64(normKeys, []int{len(ids)}, ids),
		safetensors.NewI32(normChannels, []int{len(channels)}, channels),
		safetensors.NewF32(normMean, []int{len(mean)}, mean),
		safetensors.NewF32(normVar, []int{len(variance)}, variance),
	}
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

// Decode reads a bundle from its tensors and checks that every served subnet is complete.
func Decode(f *safetensors.File) (*Bundle, error) {
	meta, ok := f.Metadata[metaKey]
	if !ok {
		return nil, errors.New("this is a safetensors file but not a bundle of weft: its metadata has no \"weft\"")
	}
	b := &Bundle{}
	if err := json.Unmarshal([]byte(meta), &b.Info); err != nil {
		return nil, fmt.Errorf("read the bundle's description: %w", err)
	}
	if b.Format < 1 || b.Format > Version {
		return nil, fmt.Errorf("bundle has format %d and this weft reads up to %d; use a newer weft", b.Format, Version)
	}
	space, err := supernet.Decode(b.Space)
	if err != nil {
		return nil, err
	}
	if err := b.checkInfo(space); err != nil {
		return nil, err
	}
	b.Net = &supernet.Supernet{Space: space, W: nn.NewWeights(space.Layers()), Mean: b.Mean, Std: b.Std}
	tensors := f.ByName()
	if err := b.readWeights(tensors); err != nil {
		return nil, err
	}
	if b.Norms, err = decodeNorms(tensors); err != nil {
		return nil, err
	}
	return b, b.checkSubnets()
}

// checkInfo checks the description against the space.
func (b *Bundle) checkInfo(space *supernet.Space) error {
	c := space.Input.C
	if len(b.Mean) != c || len(b.Std) != c {
		return fmt.Errorf("%d means and %d deviations for images of %d channels", len(b.Mean), len(b.Std), c)
	}
	for i := range c {
		if !(b.Std[i] > 0) || b.Mean[i]-b.Mean[i] != 0 || b.Std[i]-b.Std[i] != 0 {
			return fmt.Errorf("channel %d is normalised by mean %v and deviation %v", i, b.Mean[i], b.Std[i])
		}
	}
	if len(b.ClassNames) != space.Classes {
		return fmt.Errorf("%d class names for %d classes", len(b.ClassNames), space.Classes)
	}
	if len(b.Subnets) == 0 {
		return errors.New("bundle names no subnet to serve; write it again with weft search")
	}
	return nil
}

func (b *Bundle) readWeights(tensors map[string]*safetensors.Tensor) error {
	w := b.Net.W
	for i := range w.Params {
		p := &w.Params[i]
		t := tensors[weightPrefix+p.Name]
		if t == nil {
			return fmt.Errorf("tensor %s%s is missing; the bundle does not belong to its space", weightPrefix, p.Name)
		}
		if !slices.Equal(t.Shape, p.Shape) {
			return fmt.Errorf("tensor %s has shape %v instead of %v", t.Name, t.Shape, p.Shape)
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

func decodeNorms(tensors map[string]*safetensors.Tensor) (supernet.Norms, error) {
	for _, name := range []string{normKeys, normChannels, normMean, normVar} {
		if tensors[name] == nil {
			return nil, fmt.Errorf("tensor %s is missing; the bundle has no normalisation statistics", name)
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
		return nil, errors.New("the tensors of the normalisation statistics differ in length")
	}
	norms := make(supernet.Norms, len(keys))
	for i, k := range keys {
		c := int(channels[i])
		if c < 1 || c > len(mean) {
			return nil, fmt.Errorf("normalisation entry %d has %d channels and %d values are left", i, c, len(mean))
		}
		st := supernet.Stats{Mean: mean[:c:c], Var: variance[:c:c]}
		for j := range c {
			if st.Mean[j]-st.Mean[j] != 0 || !(st.Var[j] >= 0) || st.Var[j]-st.Var[j] != 0 {
				return nil, fmt.Errorf("normalisation entry %d has mean %v and variance %v", i, st.Mean[j], st.Var[j])
			}
		}
		norms[nn.NormKey(k)] = st
		mean, variance = mean[c:], variance[c:]
	}
	if len(mean) != 0 {
		return nil, fmt.Errorf("%d values of normalisation statistics belong to no entry", len(mean))
	}
	return norms, nil
}

// checkSubnets makes sure that every served subnet exists and has its statistics.
func (b *Bundle) checkSubnets() error {
	for _, s := range b.Subnets {
		if !(s.Accuracy >= 0 && s.Accuracy <= 1) {
			return fmt.Errorf("subnet %s has accuracy %v", s.Arch, s.Accuracy)
		}
		a, err := b.Net.Space.Parse(s.Arch)
		if err != nil {
			return err
		}
		g, err := b.Net.Space.Lower(a)
		if err != nil {
			return err
		}
		for i, k := range g.NormKeys() {
			if k == 0 {
				continue
			}
			st, ok := b.Norms[k]
			if c := g.Values[g.Ops[i].Out].C; !ok || len(st.Mean) != c {
				return fmt.Errorf("subnet %s has no statistics for layer %s; write the bundle again with weft search", s.Arch, g.Layers[g.Ops[i].Layer].Name)
			}
		}
	}
	return nil
}
