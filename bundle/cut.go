package bundle

import (
	"strconv"

	"weft/supernet"
)

// Cut returns a bundle of one subnet alone, in a space of family Fixed. It keeps the
// subnet's accuracies and its int8 where b lists it.
func (b *Bundle) Cut(a supernet.Arch) (*Bundle, error) {
	net, norms, err := b.Net.Cut(a, b.Norms)
	if err != nil {
		return nil, err
	}
	c := Fixed(b.Name, net, norms)
	c.ClassNames, c.Provenance = b.ClassNames, b.Provenance
	if s, ok := b.find(b.Subnets, a); ok {
		c.Subnets[0].Accuracy, c.Subnets[0].Test = s.Accuracy, s.Test
	}
	if s, ok := b.find(b.Int8, a); ok {
		s.Arch = c.Subnets[0].Arch
		c.Int8 = []Subnet{s}
		c.Ranges, err = b.cutRanges(a, net.Space)
	}
	return c, err
}

// find returns the entry of a subnet.
func (b *Bundle) find(list []Subnet, a supernet.Arch) (Subnet, bool) {
	for _, s := range list {
		if own, err := b.Net.Space.Parse(s.Arch); err == nil && own == a {
			return s, true
		}
	}
	return Subnet{}, false
}

// cutRanges returns the ranges of a subnet by the keys that its values have in the space of
// the subnet alone, whose operations are the same.
func (b *Bundle) cutRanges(a supernet.Arch, alone *supernet.Space) (supernet.Ranges, error) {
	from, err := b.Net.Space.Lower(a)
	if err != nil {
		return nil, err
	}
	to, err := alone.Lower(alone.Max())
	if err != nil {
		return nil, err
	}
	ranges, keys := supernet.Ranges{}, to.ValueKeys()
	for v, k := range from.ValueKeys() {
		if r := b.Ranges[k]; r != nil {
			ranges[keys[v]] = r
		}
	}
	return ranges, nil
}

// Fixed returns the bundle of a network of family Fixed, with classes called by their
// numbers and an accuracy of 0, which stands for not measured.
func Fixed(name string, net *supernet.Supernet, norms supernet.Norms) *Bundle {
	b := &Bundle{Net: net, Norms: norms, Info: Info{Name: name}}
	for i := range net.Space.Classes {
		b.ClassNames = append(b.ClassNames, strconv.Itoa(i))
	}
	a := net.Space.Max()
	s := Subnet{Arch: net.Space.Format(a)}
	if g, err := net.Space.Lower(a); err == nil {
		s.MACs, s.Params = g.MACs(), g.Params()
	}
	b.Subnets = []Subnet{s}
	return b
}
