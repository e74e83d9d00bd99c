package bundle

import (
	"errors"
	"fmt"

	"weft/nn"
	"weft/safetensors"
	"weft/supernet"
)

// check makes sure that the description fits the supernet and that every served subnet
// exists and has its statistics.
func (b *Bundle) check() error {
	if err := b.checkInput(); err != nil {
		return err
	}
	switch {
	case b.Name == "":
		return errors.New("the model has no name; write the bundle again with weft search --name")
	case len(b.ClassNames) != b.Net.Space.Classes:
		return fmt.Errorf("the bundle names %d classes and its network tells %d apart; write it again with weft search", len(b.ClassNames), b.Net.Space.Classes)
	case len(b.Subnets) == 0:
		return errors.New("the bundle names no subnet to serve; write it again with weft search")
	}
	if err := b.checkSubnets(b.Subnets); err != nil {
		return err
	}
	return b.checkInt8()
}

// checkSubnets makes sure that a list of subnets is in order, names each once, and that
// each has its statistics.
func (b *Bundle) checkSubnets(subnets []Subnet) error {
	seen := make(map[supernet.Arch]bool, len(subnets))
	for i, s := range subnets {
		if !(s.Accuracy >= 0 && s.Accuracy <= 1) || !(s.Test >= 0 && s.Test <= 1) {
			return fmt.Errorf("subnet %s has accuracy %v and test accuracy %v, which are no fractions; the bundle is damaged", s.Arch, s.Accuracy, s.Test)
		}
		if i > 0 && s.Accuracy < subnets[i-1].Accuracy {
			return fmt.Errorf("subnet %s comes after a more accurate one; order the bundle's subnets by rising accuracy", s.Arch)
		}
		a, err := b.Net.Space.Parse(s.Arch)
		if err != nil {
			return err
		}
		if seen[a] {
			return fmt.Errorf("subnet %s is listed twice; list each once", s.Arch)
		}
		seen[a] = true
		if err := b.checkNorms(a); err != nil {
			return fmt.Errorf("subnet %s %w; write the bundle again with weft search", s.Arch, err)
		}
	}
	return nil
}

// checkInput checks the normalisation of pixels.
func (b *Bundle) checkInput() error {
	c := b.Net.Space.Input.C
	if len(b.Mean) != c || len(b.Std) != c {
		return fmt.Errorf("the bundle has %d means and %d deviations for images of %d channels; write it again with weft search", len(b.Mean), len(b.Std), c)
	}
	for i := range c {
		if !(b.Std[i] > 0) || b.Mean[i]-b.Mean[i] != 0 || b.Std[i]-b.Std[i] != 0 {
			return fmt.Errorf("channel %d is normalised by mean %v and deviation %v; the bundle is damaged", i, b.Mean[i], b.Std[i])
		}
	}
	return nil
}

// checkNorms makes sure that a subnet has the statistics of its layers.
func (b *Bundle) checkNorms(a supernet.Arch) error {
	g, err := b.Net.Space.Lower(a)
	if err != nil {
		return err
	}
	for i, k := range g.NormKeys() {
		if k == 0 {
			continue
		}
		op := &g.Ops[i]
		st, ok := b.Norms[k]
		switch c := g.Values[op.Out].C; {
		case !ok:
			return fmt.Errorf("has no statistics for layer %s", g.Layers[op.Layer].Name)
		case len(st.Mean) != c:
			return fmt.Errorf("has statistics of %d channels for the %d of layer %s", len(st.Mean), c, g.Layers[op.Layer].Name)
		}
	}
	return nil
}

// checkStats checks the values of one normalisation layer.
func checkStats(st supernet.Stats) error {
	if len(st.Mean) != len(st.Var) || len(st.Mean) == 0 {
		return fmt.Errorf("%d means and %d variances", len(st.Mean), len(st.Var))
	}
	for c, v := range st.Var {
		if m := st.Mean[c]; m-m != 0 || !(v >= 0) || v-v != 0 {
			return fmt.Errorf("channel %d has mean %v and variance %v", c, m, v)
		}
	}
	return nil
}

// checkSizes makes sure that the file holds about as many values as the space's weights
// take, before memory is taken for them: a few bytes of description can ask for
// terabytes.
func checkSizes(layers []nn.Layer, tensors map[string]*safetensors.Tensor) error {
	for i := range layers {
		l := &layers[i]
		var values int
		switch l.Kind {
		case nn.Depthwise:
			values = l.Out * l.Taps()
		case nn.SE:
			values = l.In * l.Hidden
		default:
			values = l.In * l.Out * l.Taps()
		}
		name := weightPrefix + l.Name + "." + nn.Weight.String()
		t := tensors[name]
		if t == nil {
			return missing(name)
		}
		if len(t.Data) < values {
			return fmt.Errorf("tensor %s has shape %v, too few values for its layer; write the bundle again with weft search", name, t.Shape)
		}
	}
	return nil
}
