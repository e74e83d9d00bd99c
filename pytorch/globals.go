package pytorch

import (
	"errors"
	"fmt"
)

// call is what the allowed globals do. Everything else is refused: a pickle may name any
// function of Python, and nothing that a network needs is among the rest.
func call(g global, args tuple) (any, error) {
	switch g.String() {
	case "collections.OrderedDict":
		return orderedDict(args)
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		return rebuildTensor(args)
	case "torch._utils._rebuild_parameter":
		if len(args) > 0 {
			if t, ok := args[0].(*Tensor); ok {
				return t, nil
			}
		}
		return nil, errors.New("a parameter is not a tensor")
	case "torch.Size", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode":
		return opaque{g}, nil
	}
	return nil, fmt.Errorf("the checkpoint asks for %s, which is refused: only tensors in dictionaries are read, so save model.state_dict() alone", show(g.String()))
}

// orderedDict handles OrderedDict() and Python 2's OrderedDict([[key, value], ...]).
func orderedDict(args tuple) (any, error) {
	d := &dict{}
	if len(args) == 0 {
		return d, nil
	}
	l, ok := args[0].(*list)
	if !ok {
		return nil, fmt.Errorf("an OrderedDict is made of a %s", kind(args[0]))
	}
	for _, v := range l.items {
		var pair []any
		switch v := v.(type) {
		case *list:
			pair = v.items
		case tuple:
			pair = v
		}
		if len(pair) != 2 {
			return nil, fmt.Errorf("an OrderedDict has an entry of %d parts", len(pair))
		}
		d.set(pair[0], pair[1])
	}
	return d, nil
}

// rebuildTensor reads (storage, offset, shape, strides, ...).
func rebuildTensor(args tuple) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("a tensor has %d parts: must have 4", len(args))
	}
	s, ok := args[0].(*storage)
	offset, ok2 := args[1].(int64)
	shape, ok3 := ints(args[2])
	strides, ok4 := ints(args[3])
	if !ok || !ok2 || !ok3 || !ok4 {
		return nil, fmt.Errorf("a tensor is made of a %s, a %s, a %s and a %s", kind(args[0]), kind(args[1]), kind(args[2]), kind(args[3]))
	}
	return newTensor(s, offset, shape, strides)
}

// maxDims is how many dimensions a tensor of PyTorch may have.
const maxDims = 64

func ints(v any) ([]int64, bool) {
	t, ok := v.(tuple)
	if len(t) > maxDims {
		return nil, false
	}
	out := make([]int64, len(t))
	for i, v := range t {
		n, isInt := v.(int64)
		out[i], ok = n, ok && isInt
	}
	return out, ok
}
