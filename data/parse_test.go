package data

import (
	"encoding/binary"
	"strings"
	"testing"
)

// idx makes an idx file of bytes.
func idx(values []byte, dims ...int) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	return append(b, values...)
}

func TestParseIDX(t *testing.T) {
	dims, values, err := parseIDX(idx([]byte{1, 2, 3, 4, 5, 6}, 1, 2, 3), 3)
	if err != nil || len(dims) != 3 || dims[2] != 3 || values[5] != 6 {
		t.Fatalf("got %v %v %v", dims, values, err)
	}
	for _, tc := range []struct {
		name string
		in   []byte
		rank int
		want string
	}{
		{"empty", nil, 1, "truncated: 0 bytes"},
		{"header cut", idx(nil, 5)[:6], 1, "truncated: 6 bytes"},
		{"other type", append([]byte{0, 0, 13, 1}, 0, 0, 0, 1, 9), 1, "it starts with 00 00 0d 01"},
		{"other rank", idx([]byte{1}, 1), 3, "truncated"},
		{"text", []byte("<html>not found</html>"), 1, "not an idx file"},
		{"no images", idx(nil, 0, 28, 28), 3, "dimension 0 is empty"},
		{"cut", idx([]byte{1, 2, 3}, 2, 2), 2, "promises at least 4 values, 3 follow"},
		{"too long", idx([]byte{1, 2, 3}, 2), 1, "promises 2 values, 3 follow"},
		{"huge", idx([]byte{1, 2, 3}, 1<<32-1, 1<<32-1, 1<<32-1), 3, "truncated"},
		{"product wraps to the length", idx(make([]byte, 4), 1<<31, 1<<31, 4), 3, "truncated"},
	} {
		if _, _, err := parseIDX(tc.in, tc.rank); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestParseMNISTErrors(t *testing.T) {
	images := idx(make([]byte, 8), 2, 2, 2)
	for want, in := range map[string][2][]byte{
		"2 images but 3 labels":             {images, idx([]byte{0, 1, 2}, 3)},
		"label 7 of image 1 is not below 3": {images, idx([]byte{0, 7}, 2)},
		"images are 1 x 2, not 2 x 2":       {idx(make([]byte, 4), 2, 1, 2), idx([]byte{0, 1}, 2)},
	} {
		if _, err := parseMNIST(in[0], in[1], 2, 2, 3); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestAppendCIFAR(t *testing.T) {
	b := make([]byte, 2*cifarRecord)
	b[0], b[cifarRecord] = 3, 9
	b[cifarRecord+1+5] = 10              // red of pixel 5
	b[cifarRecord+1+cifarPlane+5] = 20   // green
	b[cifarRecord+1+2*cifarPlane+5] = 30 // blue
	s, err := appendCIFAR(Split{}, b)
	if err != nil || s.N() != 2 || s.Labels[0] != 3 || s.Labels[1] != 9 {
		t.Fatalf("labels %v, error %v", s.Labels, err)
	}
	if got := s.Image(1)[15:18]; got[0] != 10 || got[1] != 20 || got[2] != 30 {
		t.Errorf("pixel 5 is %v", got)
	}
	if _, err := appendCIFAR(Split{}, b[:5000]); err == nil || !strings.Contains(err.Error(), "truncated: 5000 bytes") {
		t.Errorf("cut file: %v", err)
	}
	b[cifarRecord] = 10
	if _, err := appendCIFAR(Split{}, b); err == nil || err.Error() != "label 10 of record 1 is not below 10" {
		t.Errorf("bad label: %v", err)
	}
}

func FuzzIDX(f *testing.F) {
	f.Add(idx([]byte{1, 2, 3, 4}, 1, 2, 2))
	f.Add(idx([]byte{1, 2, 3}, 3))
	f.Add(idx(nil, 1<<32-1, 1<<32-1, 1<<32-1))
	f.Add([]byte{0, 0, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		for rank := 1; rank <= 3; rank++ {
			dims, values, err := parseIDX(b, rank)
			if err != nil {
				continue
			}
			n := 1
			for _, d := range dims {
				n *= d
			}
			if n != len(values) || len(values)+4+4*rank != len(b) {
				t.Fatalf("dims %v, %d values of %d bytes", dims, len(values), len(b))
			}
		}
	})
}

func FuzzCIFAR(f *testing.F) {
	f.Add(make([]byte, cifarRecord))
	f.Add(make([]byte, cifarRecord-1))
	f.Add([]byte{255})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := appendCIFAR(Split{}, b)
		if err != nil {
			return
		}
		if s.N() != len(b)/cifarRecord || len(s.Images) != s.N()*3*cifarPlane {
			t.Fatalf("%d labels, %d pixels from %d bytes", s.N(), len(s.Images), len(b))
		}
		for i, l := range s.Labels {
			if l > 9 || s.Image(i)[2] != b[i*cifarRecord+1+2*cifarPlane] {
				t.Fatalf("record %d is wrong", i)
			}
		}
	})
}
