package pytorch

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"weft/safetensors"
)

// dtype is the type of a storage's elements.
type dtype struct {
	name  string
	size  int
	float func(b []byte) float32 // nil for types that hold no weights
}

// dtypes are the storages that a checkpoint may have, by their class in module torch.
var dtypes = map[string]*dtype{
	"FloatStorage": {"float32", 4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }},
	"HalfStorage":  {"float16", 2, func(b []byte) float32 { return safetensors.FromF16(binary.LittleEndian.Uint16(b)) }},
	"BFloat16Storage": {"bfloat16", 2, func(b []byte) float32 {
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
	}},
	"DoubleStorage": {"float64", 8, func(b []byte) float32 {
		return float32(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}},
	"LongStorage":  {"int64", 8, nil},
	"IntStorage":   {"int32", 4, nil},
	"ShortStorage": {"int16", 2, nil},
	"CharStorage":  {"int8", 1, nil},
	"ByteStorage":  {"uint8", 1, nil},
	"BoolStorage":  {"bool", 1, nil},
}

// storage is a run of elements that tensors view.
type storage struct {
	key   string
	dtype *dtype
	len   int64  // elements
	data  []byte // nil until it is read
}

// storageOf returns the storage that a persistent id names: ("storage", class, key, device,
// elements), in legacy files followed by a view, which is None since version 0.4.
func storageOf(id tuple, known map[string]*storage) (*storage, error) {
	if len(id) < 5 || len(id) > 6 || id[0] != "storage" {
		return nil, fmt.Errorf("the pickle names an object of %d parts that is no storage", len(id))
	}
	class, _ := id[1].(global)
	key, ok := id[2].(string)
	n, ok2 := id[4].(int64)
	d := dtypes[class.name]
	switch {
	case class.module != "torch" || d == nil:
		return nil, fmt.Errorf("the checkpoint has a %s: weights must be float32, float16, bfloat16 or float64", kind(id[1]))
	case !ok || !ok2 || n < 0 || show(key) != key:
		return nil, fmt.Errorf("a storage has key %s and %s elements", show(id[2]), show(id[4]))
	case len(id) == 6 && id[5] != nil:
		return nil, fmt.Errorf("storage %s is a view of another one: save the checkpoint again with a newer PyTorch", key)
	}
	if s := known[key]; s != nil {
		if s.dtype != d || s.len != n {
			return nil, fmt.Errorf("storage %s is of two kinds", key)
		}
		return s, nil
	}
	s := &storage{key: key, dtype: d, len: n}
	known[key] = s
	return s, nil
}

// check compares the bytes of a storage with its elements.
func (s *storage) check() error {
	if s.len > int64(len(s.data)/s.dtype.size) {
		return fmt.Errorf("storage %s is truncated: it has %d bytes for %d elements", s.key, len(s.data), s.len)
	}
	return nil
}

// Tensor is a view of elements in a file.
type Tensor struct {
	Shape   []int
	strides []int64 // elements
	offset  int64
	storage *storage
}

// DType names the type of the elements as PyTorch does, such as float32.
func (t *Tensor) DType() string { return t.storage.dtype.name }

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, s := range t.Shape {
		n *= s
	}
	return n
}

// newTensor checks a view: it must lie in its storage and have no more elements than that,
// which broadcast views would.
func newTensor(s *storage, offset int64, shape, strides []int64) (*Tensor, error) {
	t := &Tensor{strides: strides, offset: offset, storage: s}
	for _, d := range shape {
		t.Shape = append(t.Shape, int(d))
	}
	empty := slices.Contains(shape, 0) && len(shape) == len(strides) && slices.Min(shape) == 0
	if !empty && !fits(s.len, offset, shape, strides) {
		return nil, fmt.Errorf("a tensor of shape %v, strides %v and offset %d does not fit its storage of %d elements", shape, strides, offset, s.len)
	}
	return t, nil
}

// fits reports whether a view of at least one element lies in n elements.
func fits(n, offset int64, shape, strides []int64) bool {
	if len(shape) != len(strides) || offset < 0 || offset >= n {
		return false
	}
	count, last := int64(1), offset
	for i, d := range shape {
		if d < 1 || strides[i] < 0 || d > n/count || d > 1 && strides[i] > (n-1-last)/(d-1) {
			return false
		}
		count *= d
		last += (d - 1) * strides[i]
	}
	return true
}

// Floats returns the elements in row-major order, rounded to float32. It refuses types
// that are not floating-point, and values that are not finite.
func (t *Tensor) Floats() ([]float32, error) {
	d := t.storage.dtype
	if d.float == nil {
		return nil, fmt.Errorf("holds %s instead of floating-point values", d.name)
	}
	out := make([]float32, t.Len())
	index := make([]int, len(t.Shape))
	at := t.offset
	for i := range out {
		v := d.float(t.storage.data[at*int64(d.size):])
		if v-v != 0 {
			return nil, fmt.Errorf("holds %v", v)
		}
		out[i] = v
		for k := len(index) - 1; k >= 0; k-- {
			index[k]++
			at += t.strides[k]
			if index[k] < t.Shape[k] {
				break
			}
			at -= t.strides[k] * int64(index[k])
			index[k] = 0
		}
	}
	return out, nil
}
