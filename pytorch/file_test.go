package pytorch

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fixtureTensors are the shapes and values that testdata/make.py gives its tensors: at each
// element's row-major place, its index in the original order.
var fixtureTensors = []struct {
	name, dtype string
	shape       []int
	index       func(i int) float32
}{
	{"float32", "float32", []int{2, 3, 4}, quarter},
	{"float16", "float16", []int{24}, quarter},
	{"bfloat16", "bfloat16", []int{4, 6}, quarter},
	{"float64", "float64", []int{24}, quarter},
	{"scalar", "float32", nil, func(int) float32 { return 2.5 }},
	{"empty", "float32", []int{0, 3}, quarter},
	{"transposed", "float32", []int{6, 4}, func(i int) float32 { return quarter(i%4*6 + i/4) }},
	{"channels_last", "float32", []int{2, 3, 2, 2}, quarter},
	{"row", "float32", []int{10}, func(i int) float32 { return quarter(30 + i) }},
	{"column", "float32", []int{10}, func(i int) float32 { return quarter(10*i + 7) }},
	{"parameter", "float32", []int{4}, quarter},
}

func quarter(i int) float32 { return float32(i) / 4 }

func TestDecode(t *testing.T) {
	for _, name := range []string{"zip.pth", "legacy.pth", "legacy4.pth"} {
		s, err := Decode(fixture(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if want := 15; len(s.Names) != want || s.Names[0] != "float32" || s.Names[14] != "parameter" {
			t.Errorf("%s: tensors %v", name, s.Names)
		}
		for _, want := range fixtureTensors {
			x := s.Tensors[want.name]
			got, err := x.Floats()
			if err != nil {
				t.Errorf("%s: %s: %v", name, want.name, err)
				continue
			}
			vals := make([]float32, x.Len())
			for i := range vals {
				vals[i] = want.index(i)
			}
			if x.DType() != want.dtype || !cmp.Equal(x.Shape, want.shape) || !cmp.Equal(got, vals) {
				t.Errorf("%s: %s is %s %v %v, want %v", name, want.name, x.DType(), x.Shape, got, vals)
			}
		}
		for _, n := range []string{"int64", "int32", "uint8", "bool"} {
			x := s.Tensors[n]
			if _, err := x.Floats(); err == nil || !strings.Contains(err.Error(), "holds "+n+" instead of floating-point") || x.DType() != n {
				t.Errorf("%s: %s %s: %v", name, n, x.DType(), err)
			}
		}
	}
}

// Every shorter file is refused with an error that says so.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"zip.pth", "legacy.pth"} {
		b := fixture(t, name)
		for n := range b {
			_, err := Decode(b[:n])
			if err == nil {
				t.Fatalf("%s: %d of %d bytes pass", name, n, len(b))
			}
			if n > 100 && !strings.Contains(err.Error(), "truncated") {
				t.Fatalf("%s: %d of %d bytes: %v", name, n, len(b), err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"module", fixture(t, "module.pth"), "asks for torch.nn.modules.linear.Linear, which is refused: only tensors in dictionaries are read, so save model.state_dict() alone"},
		{"script", fixture(t, "script.pt"), "TorchScript program: save the state_dict"},
		{"empty", nil, "neither a zip file nor a pickle"},
		{"text", []byte("hello"), "neither a zip file nor a pickle"},
		{"another pickle", []byte("\x80\x02K\x01."), "not written by torch.save"},
		{"another zip", rezip(t, func(h *zip.FileHeader, b []byte) []byte { h.Name = "x" + h.Name[7:]; return b }), "no data.pkl"},
		{"compressed", rezip(t, func(h *zip.FileHeader, b []byte) []byte { h.Method = zip.Deflate; return b }), "is compressed, which torch.save never does"},
		{"big-endian", rezip(t, func(h *zip.FileHeader, b []byte) []byte {
			if strings.HasSuffix(h.Name, "/version") {
				h.Name = strings.TrimSuffix(h.Name, "version") + "byteorder"
				return []byte("big")
			}
			return b
		}), "byte order big"},
		{"record missing", rezip(t, func(h *zip.FileHeader, b []byte) []byte {
			h.Name = strings.Replace(h.Name, "data/0", "data/100", 1)
			return b
		}), "no record data/0"},
		{"record short", rezip(t, func(h *zip.FileHeader, b []byte) []byte {
			if strings.HasSuffix(h.Name, "data/0") {
				return b[:40]
			}
			return b
		}), "storage 0 is truncated: it has 40 bytes for 24 elements"},
	}
	for _, tt := range tests {
		if _, err := Decode(tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// rezip writes zip.pth again with each record changed.
func rezip(t *testing.T, change func(h *zip.FileHeader, b []byte) []byte) []byte {
	t.Helper()
	raw := fixture(t, "zip.pth")
	from, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	to := zip.NewWriter(&out)
	for _, f := range from.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		h := &zip.FileHeader{Name: f.Name, Method: zip.Store}
		b = change(h, b)
		w, err := to.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadFile(t *testing.T) {
	if _, err := ReadFile("testdata/none.pth"); !os.IsNotExist(err) {
		t.Error(err)
	}
	if _, err := ReadFile("testdata/make.py"); err == nil || !strings.HasPrefix(err.Error(), "not a checkpoint") {
		t.Error(err)
	}
}
