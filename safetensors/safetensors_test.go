package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func encode(t testing.TB, f *File) []byte {
	t.Helper()
	var b bytes.Buffer
	if n, err := f.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d bytes of %d: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// raw makes a file of a header and data as they are.
func raw(header string, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

// TestBytes holds the layout to the letter.
func TestBytes(t *testing.T) {
	f := &File{
		Metadata: map[string]string{"b": "2", "a": "1"},
		Tensors:  []Tensor{{"x", U8, []int{3}, []byte("xyz")}, NewF32("s", nil, []float32{1})},
	}
	const header = `{"__metadata__":{"a":"1","b":"2"},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},` +
		`"x":{"dtype":"U8","shape":[3],"data_offsets":[4,7]}}` + "      "
	if want := raw(header, "\x00\x00\x80\x3fxyz"); !bytes.Equal(encode(t, f), want) {
		t.Errorf("got  %q\nwant %q", encode(t, f), want)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &File{Metadata: rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "metadata")}
		names := rapid.SliceOfNDistinct(rapid.String().Filter(func(s string) bool { return s != metadataKey }), 0, 6, rapid.ID[string]).Draw(t, "names")
		for _, name := range names {
			d := rapid.SampledFrom([]DType{F32, F16, I64, I32, U8}).Draw(t, "dtype")
			shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "shape")
			n, err := byteLen(d, shape)
			if err != nil {
				t.Fatal(err)
			}
			f.Tensors = append(f.Tensors, Tensor{name, d, shape, rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "data")})
		}
		var b, again bytes.Buffer
		if _, err := f.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if n := binary.LittleEndian.Uint64(b.Bytes()); n%8 != 0 {
			t.Fatalf("the header has %d bytes", n)
		}
		got, err := Decode(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(f.Tensors, canonical)
		if diff := cmp.Diff(f, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		slices.Reverse(got.Tensors) // the order given does not show in the file
		if _, err := got.WriteTo(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Fatalf("written again it differs (%v)", err)
		}
	})
}

// TestForeignOrder reads a file that other software wrote in an order of its own.
func TestForeignOrder(t *testing.T) {
	f, err := Decode(raw(` {"a":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},"b":{"shape":[2],"data_offsets":[0,4],"dtype":"F16"}}`[1:], "\x00\x3c\x00\xc0z"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.ByName()["b"].F32()
	if err != nil || !slices.Equal(got, []float32{1, -2}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := f.ByName()["a"].F32(); err == nil || err.Error() != `tensor "a" has type U8, not F32 or F16` {
		t.Error(err)
	}
}

func TestDecodeErrors(t *testing.T) {
	one := func(fields string) string { return `{"a":{` + fields + `}}` }
	for _, tc := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "not a safetensors file: 0 bytes are too few"},
		{"header cut", raw(one(`"dtype":"U8"`), "")[:20], "the file is truncated: its header has 20 bytes, 12 are there"},
		{"header huge", binary.LittleEndian.AppendUint64(nil, 1<<63), "not a safetensors file: it claims a header of 9223372036854775808 bytes, the limit is 100000000"},
		{"header empty", raw("", ""), "not a safetensors file: its header does not begin with {"},
		{"text", []byte("<!DOCTYPE html><html>"), "not a safetensors file: it claims"},
		{"not UTF-8", raw("{\"\xff\":1}", ""), "the header is not UTF-8"},
		{"json cut", raw(`{"a":`, ""), "the header is damaged: tensor \"a\": unexpected EOF"},
		{"json tail", raw(`{}{}`, ""), "the header is damaged: something follows its closing }"},
		{
			"duplicate tensor", raw(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, ""),
			`the header is damaged: key "a" comes twice`,
		},
		{"duplicate field", raw(one(`"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]`), "x"), `the header is damaged: tensor "a": key "dtype" comes twice`},
		{"duplicate metadata", raw(`{"__metadata__":{"k":"1","k":"2"}}`, ""), `the header is damaged: key "k" comes twice`},
		{"metadata number", raw(`{"__metadata__":{"k":1}}`, ""), `the header is damaged: metadata "k": 1 stands where a text must`},
		{"missing field", raw(one(`"dtype":"U8","shape":[1]`), "x"), `the header is damaged: tensor "a": dtype, shape or data_offsets is missing`},
		{"unknown field", raw(one(`"dtype":"U8","shape":[1],"stride":[1]`), "x"), `the header is damaged: tensor "a": unknown field "stride"`},
		{"null shape", raw(one(`"dtype":"U8","shape":null,"data_offsets":[0,1]`), "x"), `the header is damaged: tensor "a": <nil> stands where [ must`},
		{"quoted size", raw(one(`"dtype":"U8","shape":["1"],"data_offsets":[0,1]`), "x"), `the header is damaged: tensor "a": 1 is not a whole number`},
		{"negative size", raw(one(`"dtype":"U8","shape":[-1],"data_offsets":[0,1]`), "x"), `the header is damaged: tensor "a": -1 is not a whole number`},
		{"fraction", raw(one(`"dtype":"U8","shape":[1.0],"data_offsets":[0,1]`), "x"), `the header is damaged: tensor "a": 1.0 is not a whole number`},
		{"size over int", raw(one(`"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]`), "x"), `the header is damaged: tensor "a": size 9223372036854775808 is too large`},
		{"three offsets", raw(one(`"dtype":"U8","shape":[1],"data_offsets":[0,1,2]`), "x"), `the header is damaged: tensor "a": data_offsets holds 3 numbers instead of 2`},
		{"other type", raw(one(`"dtype":"BF16","shape":[1],"data_offsets":[0,2]`), "xx"), `tensor "a": type "BF16" is not supported: convert it to F32, F16, I64, I32 or U8`},
		{"product wraps", raw(one(`"dtype":"I64","shape":[2305843009213693952,8],"data_offsets":[0,0]`), ""), `tensor "a": shape [2305843009213693952 8] is too large`},
		{"data cut", raw(one(`"dtype":"F32","shape":[2],"data_offsets":[0,8]`), "1234567"), `the file is truncated: tensor "a" ends at byte 8 of the data, 7 are there`},
		{"backwards", raw(one(`"dtype":"U8","shape":[1],"data_offsets":[1,0]`), "x"), `tensor "a" ends at byte 0, before its beginning at 1`},
		{"other length", raw(one(`"dtype":"F32","shape":[2],"data_offsets":[0,4]`), "1234"), `tensor "a" has 4 bytes, its type F32 and shape [2] need 8`},
		{"gap", raw(one(`"dtype":"U8","shape":[1],"data_offsets":[1,2]`), "xy"), `tensor "a" begins at byte 1 of the data instead of 0: tensors overlap or leave a gap`},
		{
			"overlap", raw(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, "xyz"),
			`tensor "b" begins at byte 1 of the data instead of 2: tensors overlap or leave a gap`,
		},
		{"tail", raw(`{}`, "x"), "the data section has 1 bytes, its tensors only 0"},
	} {
		_, err := Decode(tc.in)
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s:\n got %v\nwant %s", tc.name, err, tc.want)
		}
	}
}

// TestEveryCut checks that a file cut anywhere is refused.
func TestEveryCut(t *testing.T) {
	b := encode(t, &File{Metadata: map[string]string{"k": "v"}, Tensors: []Tensor{NewF32("a", []int{2}, []float32{1, 2})}})
	for n := range b {
		if _, err := Decode(b[:n]); err == nil {
			t.Fatalf("cut to %d of %d bytes it is accepted", n, len(b))
		}
	}
	if _, err := Decode(b); err != nil {
		t.Fatal(err)
	}
}

func TestWriteErrors(t *testing.T) {
	for want, f := range map[string]*File{
		`tensor "a" has 3 bytes, its type F32 and shape [1] need 4`:       {Tensors: []Tensor{{"a", F32, []int{1}, []byte("abc")}}},
		`tensor name "a" is used twice, reserved or not UTF-8`:            {Tensors: []Tensor{{"a", U8, []int{0}, nil}, {"a", U8, []int{0}, nil}}},
		`tensor name "__metadata__" is used twice, reserved or not UTF-8`: {Tensors: []Tensor{{metadataKey, U8, []int{0}, nil}}},
		`tensor "a": shape [-1] has a negative size`:                      {Tensors: []Tensor{{"a", U8, []int{-1}, nil}}},
		`metadata "k" is not UTF-8`:                                       {Metadata: map[string]string{"k": "\xff"}},
	} {
		var b bytes.Buffer
		if _, err := f.WriteTo(&b); err == nil || err.Error() != want || b.Len() > 0 {
			t.Errorf("error %v after %d bytes, want %q", err, b.Len(), want)
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) ReadAt([]byte, int64) (int, error) { return 0, r.err }

func TestReadErrors(t *testing.T) {
	if _, err := Read(failingReader{io.ErrUnexpectedEOF}, 1<<40); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "net.weft")
	if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil || err.Error() != path+": not a safetensors file: 2 bytes are too few" {
		t.Error(err)
	}
	if _, err := ReadFile(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, &File{Metadata: map[string]string{"k": "v"}, Tensors: []Tensor{NewF32("a", []int{2}, []float32{1, 2}), {"u", U8, []int{3}, []byte("xyz")}}}))
	f.Add(raw(`{"a":{"dtype":"F16","shape":[2,0],"data_offsets":[0,0]}}`, ""))
	f.Add(raw(`{"a":{"dtype":"I64","shape":[2305843009213693952,8],"data_offsets":[0,18446744073709551615]}}`, "x"))
	f.Add(raw(`{"__metadata__":{}}   `, ""))
	f.Add(binary.LittleEndian.AppendUint64(nil, math.MaxUint64))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(encode(t, got))
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		if diff := cmp.Diff(got, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// value is the definition of a half-precision number.
func value(h uint16) float64 {
	exponent, fraction := int(h>>10&0x1f), float64(h&0x3ff)
	v := math.Ldexp(1+fraction/1024, exponent-15)
	switch {
	case exponent == 0:
		v = math.Ldexp(fraction/1024, -14)
	case exponent == 31 && fraction == 0:
		v = math.Inf(1)
	case exponent == 31:
		return math.NaN()
	}
	return math.Copysign(v, 1-2*float64(h>>15))
}

func TestF16(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f, want := FromF16(h), value(h)
		if want != want {
			if f == f || ToF16(f) != h {
				t.Fatalf("%#04x: NaN becomes %g and then %#04x", h, f, ToF16(f))
			}
			continue
		}
		if float64(f) != want || math.Signbit(float64(f)) != math.Signbit(want) {
			t.Fatalf("%#04x is %g, want %g", h, f, want)
		}
		if back := ToF16(f); back != h {
			t.Fatalf("%#04x becomes %g and then %#04x", h, f, back)
		}
	}
}

// TestF16Rounds tries, between any two neighbours, the midpoint and the floats beside it.
func TestF16Rounds(t *testing.T) {
	for _, sign := range []uint16{0, 0x8000} {
		for h := range uint16(0x7c00) {
			lo, hi := sign|h, sign|(h+1)
			upper := value(hi)
			if h+1 == 0x7c00 { // the step above the largest number, as if the exponent had room
				upper = math.Copysign(65536, value(lo))
			}
			mid := float32((value(lo) + upper) / 2) // exact
			even := lo
			if h&1 == 1 {
				even = hi
			}
			for f, want := range map[float32]uint16{
				mid: even, math.Nextafter32(mid, float32(value(lo))): lo, math.Nextafter32(mid, float32(upper)): hi,
			} {
				if got := ToF16(f); got != want {
					t.Fatalf("%g becomes %#04x, want %#04x", f, got, want)
				}
			}
		}
	}
	for f, want := range map[float32]uint16{
		math.MaxFloat32: 0x7c00, -math.MaxFloat32: 0xfc00, math.SmallestNonzeroFloat32: 0, 65536: 0x7c00,
		float32(math.Inf(-1)): 0xfc00, math.Float32frombits(0x7f800001): 0x7c01, math.Float32frombits(0xffc00000): 0xfe00,
	} {
		if got := ToF16(f); got != want {
			t.Errorf("%g becomes %#04x, want %#04x", f, got, want)
		}
	}
}

func TestNewF16(t *testing.T) {
	x := NewF16("h", []int{3}, []float32{0.1, -65519, 70000})
	got, err := x.F32()
	if err != nil || fmt.Sprint(got) != "[0.099975586 -65504 +Inf]" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "net.weft")
	f := &File{Metadata: map[string]string{"weft": "1"}, Tensors: []Tensor{NewF32("w", []int{2}, []float32{1, 2})}}
	if err := f.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(path)
	if err != nil || got.Metadata["weft"] != "1" || !bytes.Equal(got.Tensors[0].Data, f.Tensors[0].Data) {
		t.Fatalf("%+v, %v", got, err)
	}
}
