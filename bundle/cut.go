package bundle

import (
	"fmt"

	"weft/supernet"
)

// Cut returns a bundle of one subnet alone, in a space of family Fixed. It keeps the
// subnet's accuracies where b lists it.
func (b *Bundle) Cut(a supernet.Arch) (*Bundle, error) {
	net, norms, err := b.Net.Cut(a, b.Norms)
	if err != nil {
		return nil, err
	}
	c := Fixed(b.Name, net, norms)
	c.ClassNames, c.Provenance = b.ClassNames, b.Provenance
	for _, s := range b.Subnets {
		if own, err := b.Net.Space.Parse(s.Arch); err == nil && own == a {
			c.Subnets[0].Accuracy, c.Subnets[0].Test = s.Accuracy, s.Test
		}
	}
	return c, nil
}

// Fixed returns the bundle of a network of family Fixed, with classes called by their
// numbers and an accuracy of 0, which stands for not measured.
func Fixed(name string, net *supernet.Supernet, norms supernet.Norms) *Bundle {
	b := &Bundle{Net: net, Norms: norms, Info: Info{Name: name}}
	for i := range net.Space.Classes {
		b.ClassNames = append(b.ClassNames, fmt.Sprint(i))
	}
	a := net.Space.Max()
	s := Subnet{Arch: net.Space.Format(a)}
	if g, err := net.Space.Lower(a); err == nil {
		s.MACs, s.Params = g.MACs(), g.Params()
	}
	b.Subnets = []Subnet{s}
	return b
}
