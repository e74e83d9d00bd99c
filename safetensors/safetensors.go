// Package safetensors reads and writes safetensors files: named tensors and a map of strings. What the
// tensors mean is for the caller, package bundle or package train.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"

	"weft/atomicfile"
)

// A safetensors file is the header's length (8 bytes, little-endian), the header (a JSON object) and the
// tensors' bytes, without gaps (github.com/huggingface/safetensors, "Format").

// maxHeader is the format's limit on the header, in bytes.
const maxHeader = 100_000_000

// metadataKey is the header's key that is no tensor.
const metadataKey = "__metadata__"

// DType is the type of a tensor's elements, as the format spells it.
type DType string

// The element types that weft reads and writes; all are little-endian.
const (
	F32 DType = "F32"
	F16 DType = "F16"
	I64 DType = "I64"
	I32 DType = "I32"
	U8  DType = "U8"
)

// Size is the number of bytes of one element, 0 for a type that weft doesn't know.
func (d DType) Size() int {
	switch d {
	case I64:
		return 8
	case F32, I32:
		return 4
	case F16:
		return 2
	case U8:
		return 1
	}
	return 0
}

// Tensor is a named dense array: Data holds the elements in row-major order, little-endian.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// File is the content of a safetensors file.
type File struct {
	Metadata map[string]string
	Tensors  []Tensor
}

// ByName returns the tensors by their names.
func (f *File) ByName() map[string]*Tensor {
	m := make(map[string]*Tensor, len(f.Tensors))
	for i := range f.Tensors {
		m[f.Tensors[i].Name] = &f.Tensors[i]
	}
	return m
}

// ReadFile reads the safetensors file at path.
func ReadFile(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	out, err := Read(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// Read reads a file of the given size. It believes nothing: every tensor must lie in the file, fit its
// shape and follow the one before, and memory is taken only for what the file really holds.
func Read(r io.ReaderAt, size int64) (*File, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, fmt.Errorf("not a safetensors file: %d bytes are too few", size)
	}
	if err := readAt(r, prefix[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxHeader {
		return nil, fmt.Errorf("not a safetensors file: it claims a header of %d bytes, the limit is %d", n, maxHeader)
	}
	if int64(n) > size-8 {
		return nil, fmt.Errorf("the file is truncated: its header has %d bytes, %d are there", n, size-8)
	}
	header := make([]byte, n)
	if err := readAt(r, header, 8); err != nil {
		return nil, err
	}
	f, spans, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	if err := checkSpans(f, spans, uint64(size)-8-n); err != nil {
		return nil, err
	}
	data := make([]byte, size-8-int64(n))
	if err := readAt(r, data, 8+int64(n)); err != nil {
		return nil, err
	}
	for i, s := range spans {
		f.Tensors[i].Data = data[s.begin:s.end:s.end]
	}
	slices.SortStableFunc(f.Tensors, canonical)
	return f, nil
}

// Decode reads a file that is in memory; the tensors don't share it.
func Decode(b []byte) (*File, error) { return Read(bytes.NewReader(b), int64(len(b))) }

func readAt(r io.ReaderAt, b []byte, off int64) error {
	if n, err := r.ReadAt(b, off); n < len(b) {
		return fmt.Errorf("read %d bytes at %d: %w", len(b), off, err)
	}
	return nil
}

// checkSpans checks that the tensors fill the data section of the given size, each exactly once.
func checkSpans(f *File, spans []span, size uint64) error {
	order := make([]int, len(spans))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(spans[a].begin, spans[b].begin), cmp.Compare(spans[a].end, spans[b].end))
	})
	var at uint64
	for _, i := range order {
		t, s := &f.Tensors[i], spans[i]
		want, err := byteLen(t.DType, t.Shape)
		switch {
		case err != nil:
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		case s.end < s.begin:
			return fmt.Errorf("tensor %q ends at byte %d, before its beginning at %d", t.Name, s.end, s.begin)
		case s.end > size:
			return fmt.Errorf("the file is truncated: tensor %q ends at byte %d of the data, %d are there", t.Name, s.end, size)
		case s.end-s.begin != uint64(want):
			return fmt.Errorf("tensor %q has %d bytes, its type %s and shape %v need %d", t.Name, s.end-s.begin, t.DType, t.Shape, want)
		case s.begin != at:
			return fmt.Errorf("tensor %q begins at byte %d of the data instead of %d: tensors overlap or leave a gap", t.Name, s.begin, at)
		}
		at = s.end
	}
	if at != size {
		return fmt.Errorf("the data section has %d bytes, its tensors only %d", size, at)
	}
	return nil
}

// byteLen is the number of bytes of a tensor.
func byteLen(d DType, shape []int) (int, error) {
	if d.Size() == 0 {
		return 0, fmt.Errorf("type %q is not supported: convert it to F32, F16, I64, I32 or U8", d)
	}
	n := uint64(d.Size())
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative size", shape)
		}
		hi, lo := bits.Mul64(n, uint64(dim))
		if hi != 0 || lo > math.MaxInt {
			return 0, fmt.Errorf("shape %v is too large", shape)
		}
		n = lo
	}
	return int(n), nil
}

// canonical is the order that tensors are written in: large elements first, which keeps every tensor
// aligned to its element, then by name. The same content thus always makes the same file.
func canonical(a, b Tensor) int {
	return cmp.Or(cmp.Compare(b.DType.Size(), a.DType.Size()), cmp.Compare(a.DType, b.DType), cmp.Compare(a.Name, b.Name))
}

// WriteTo writes the file: the tensors by falling element size, then type, then name, the first at a multiple of 8
// bytes. It refuses, before it writes, what Read would refuse.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	tensors := slices.Clone(f.Tensors)
	slices.SortStableFunc(tensors, canonical)
	header, err := makeHeader(f.Metadata, tensors)
	if err != nil {
		return 0, err
	}
	var prefix [8]byte
	binary.LittleEndian.PutUint64(prefix[:], uint64(len(header)))
	var total int64
	for _, b := range [][]byte{prefix[:], header} {
		n, err := w.Write(b)
		if total += int64(n); err != nil {
			return total, err
		}
	}
	for _, t := range tensors {
		n, err := w.Write(t.Data)
		if total += int64(n); err != nil {
			return total, err
		}
	}
	return total, nil
}

// WriteFile replaces the file at path, whole or not at all.
func (f *File) WriteFile(path string) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := f.WriteTo(w)
		return err
	})
}
