package onnx

import (
	"errors"
	"fmt"
	"slices"

	"weft/onnx/internal/pb"
)

// constant reads nodes that make constants: Constant itself, and the arithmetic of shapes
// that exporters put before a Reshape.
func (im *importer) constant(n *pb.Node) (bool, error) {
	a := attributes(n)
	if n.OpType == "Constant" {
		t := a["value"]
		switch {
		case t != nil && t.T != nil:
			k, err := decodeTensor(t.T)
			im.consts[n.Output[0]] = k
			return true, err
		case a["value_ints"] != nil:
			im.consts[n.Output[0]] = &constant{dims: []int{len(a["value_ints"].Ints)}, ints: a["value_ints"].Ints}
		case a["value_int"] != nil:
			im.consts[n.Output[0]] = &constant{ints: []int64{a["value_int"].I}}
		case a["value_float"] != nil:
			im.consts[n.Output[0]] = &constant{floats: []float32{a["value_float"].F}}
		default:
			return true, errors.New("has no value that weft reads: a tensor, a float or integers")
		}
		return true, nil
	}
	if n.OpType == "Shape" {
		if len(n.Input) != 1 {
			return true, errors.New("has no input")
		}
		v, ok := im.values[n.Input[0]]
		if !ok {
			return true, fmt.Errorf("input %q is made by no node before it", n.Input[0])
		}
		dims := im.dims(v)
		im.consts[n.Output[0]] = &constant{dims: []int{len(dims)}, ints: dims}
		return true, nil
	}
	var in []*constant
	for _, name := range n.Input {
		k := im.consts[name]
		if k == nil {
			return false, nil
		}
		in = append(in, k)
	}
	if len(in) == 0 {
		return false, nil
	}
	k, err := integers(n.OpType, a, in)
	if k != nil {
		im.consts[n.Output[0]] = k
	}
	return k != nil, err
}

// dims returns the shape of a tensor of the file.
func (im *importer) dims(v value) []int64 {
	s := v.shape
	switch {
	case v.flat:
		return []int64{int64(im.batch), int64(s.Size())}
	case v.last:
		return []int64{int64(im.batch), int64(s.H), int64(s.W), int64(s.C)}
	}
	return []int64{int64(im.batch), int64(s.C), int64(s.H), int64(s.W)}
}

// integers computes an operator on constants, nil if it is none of those.
func integers(kind string, a attrs, in []*constant) (*constant, error) {
	x := in[0]
	switch kind {
	case "Identity", "Cast":
		if kind == "Cast" && x.ints == nil {
			return nil, nil
		}
		return x, nil
	case "Squeeze":
		if len(x.dims) <= 1 && len(x.ints) == 1 {
			return &constant{ints: x.ints}, nil
		}
	case "Unsqueeze":
		if len(x.dims) == 0 && x.ints != nil {
			return &constant{dims: []int{1}, ints: x.ints}, nil
		}
	case "Gather":
		if len(in) != 2 || len(x.dims) != 1 || x.ints == nil || in[1].ints == nil || a.int("axis", 0) != 0 {
			return nil, nil
		}
		out := &constant{dims: in[1].dims}
		for _, i := range in[1].ints {
			if i < 0 {
				i += int64(len(x.ints))
			}
			if i < 0 || i >= int64(len(x.ints)) {
				return nil, errors.New("reads beyond the end")
			}
			out.ints = append(out.ints, x.ints[i])
		}
		return out, nil
	case "Concat":
		out := &constant{}
		for _, k := range in {
			if len(k.dims) != 1 || k.ints == nil {
				return nil, nil
			}
			out.ints = append(out.ints, k.ints...)
		}
		out.dims = []int{len(out.ints)}
		return out, nil
	}
	return nil, nil
}

// flatten reads [N,C,H,W] as [N,C·H·W].
func (im *importer) flatten(c *call) error {
	if c.attrs.int("axis", 1) != 1 || c.x.last {
		return errors.New("flattens other axes than the second to the last of [N,C,H,W]")
	}
	c.x.flat = true
	return im.view(c, c.x)
}

// reshape reads the shapes that flatten, or undo it for a single pixel.
func (im *importer) reshape(c *call) error {
	k := im.constOf(c, 1)
	if k == nil || k.ints == nil {
		return errors.New("has no constant shape")
	}
	s, v := k.ints, c.x
	n, channels := int64(v.shape.Size()), int64(v.shape.C)
	is := func(got, want int64) bool { return got == want || got == -1 }
	switch batch := len(s) > 0 && (s[0] == -1 || s[0] == 0 || s[0] == int64(im.batch)); {
	case batch && !v.last && len(s) == 2 && is(s[1], n):
		v.flat = true
	case batch && !v.last && len(s) == 4 && is(s[1], channels) && is(s[2], int64(v.shape.H)) && is(s[3], int64(v.shape.W)) &&
		(!v.flat || v.shape.Pixels() == 1):
		v.flat = false
	default:
		return fmt.Errorf("makes %v of %v; only flattening is supported", s, im.dims(v))
	}
	return im.view(c, v)
}

// axes returns those of Squeeze and Unsqueeze, from the attribute or the second input.
func (im *importer) axes(c *call) []int {
	axes := c.attrs.ints("axes")
	if k := im.constOf(c, 1); k != nil {
		for _, a := range k.ints {
			axes = append(axes, int(a))
		}
	}
	for i := range axes {
		if axes[i] < 0 {
			axes[i] += 4
		}
	}
	slices.Sort(axes)
	return axes
}

func (im *importer) squeeze(c *call) error {
	axes := im.axes(c)
	if c.x.shape.Pixels() != 1 || c.x.flat || len(axes) > 0 && !slices.Equal(axes, []int{2, 3}) {
		return fmt.Errorf("takes axes %v away; only height and width of one pixel are supported", axes)
	}
	c.x.flat = true
	return im.view(c, c.x)
}

func (im *importer) unsqueeze(c *call) error {
	axes := im.axes(c)
	if !c.x.flat || c.x.shape.Pixels() != 1 || !slices.Equal(axes, []int{2, 3}) {
		return fmt.Errorf("adds axes %v; only height and width of one pixel are supported", axes)
	}
	c.x.flat = false
	return im.view(c, c.x)
}

// transpose reads what brings the channels of the image to the front, and any change of
// the axes of one pixel that leaves the channels second.
func (im *importer) transpose(c *call) error {
	perm, v := c.attrs.ints("perm"), c.x
	switch {
	case v.op == 0 && v.last && slices.Equal(perm, []int{0, 3, 1, 2}):
		v.last = false
	case len(perm) == 4 && !v.flat && !v.last && v.shape.Pixels() == 1 && perm[0] == 0 && perm[1] == 1:
	default:
		return fmt.Errorf("permutes axes by %v; only [0 3 1 2] of an input [N,H,W,C] is supported", perm)
	}
	return im.view(c, v)
}

// pad reads zeros around an image, for the convolution that follows.
func (im *importer) pad(c *call) error {
	pads := c.attrs.ints("pads")
	if k := im.constOf(c, 1); k != nil {
		for _, p := range k.ints {
			pads = append(pads, int(p))
		}
	}
	if mode := c.attrs.text("mode"); mode != "" && mode != "constant" || c.attrs.float("value", 0) != 0 {
		return errors.New("pads with something else than zeros")
	}
	if k := im.constOf(c, 2); k != nil && (len(k.floats) != 1 || k.floats[0] != 0) {
		return errors.New("pads with something else than zeros")
	}
	if len(pads) != 8 || pads[0] != 0 || pads[1] != 0 || pads[4] != 0 || pads[5] != 0 || c.x.last || c.x.flat {
		return fmt.Errorf("pads by %v; only height and width of [N,C,H,W] may be padded", pads)
	}
	v := c.x
	v.pads = &[4]int{pads[2], pads[3], pads[6], pads[7]}
	return im.view(c, v)
}
