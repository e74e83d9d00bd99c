package pytorch

import (
	"testing"
)

// FuzzDecode feeds the reader damaged files: it may refuse them but not crash, and a tensor
// that it accepts has no more elements than the file has bytes.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"zip.pth", "legacy.pth", "legacy4.pth", "module.pth", "script.pt"} {
		f.Add(fixture(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			return
		}
		for _, n := range s.Names {
			x := s.Tensors[n]
			if x.Len() > len(b) {
				t.Fatalf("%s has %d elements in a file of %d bytes", n, x.Len(), len(b))
			}
			if v, err := x.Floats(); err == nil && len(v) != x.Len() {
				t.Fatalf("%s: %d values for shape %v", n, len(v), x.Shape)
			}
		}
		_, _ = Import(s, Options{})
	})
}

// FuzzPickle feeds the machine pickles alone, which are found faster than whole files.
func FuzzPickle(f *testing.F) {
	f.Add("ccollections\nOrderedDict\n)R(K\x01Nu}b.")
	f.Add("ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nU\x010U\x03cpuK\x18tQK\x00(K\x02t(K\x01ttR.")
	f.Add("\x80\x04\x8c\x01a\x94h\x00\x86\x8a\x02\x00\x80](K\x01K\x02eK\x03a(NN1.")
	f.Fuzz(func(_ *testing.T, in string) {
		v, err := run(in)
		if err == nil {
			_, _ = find(v)
		}
	})
}
