package data

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// checkReal holds what every one of the named sets must satisfy.
func checkReal(t *testing.T, set *Set, train, val, test int) {
	t.Helper()
	if set.Train.N() != train || set.Val.N() != val || set.Test.N() != test || set.Classes != 10 {
		t.Fatalf("%d + %d + %d images in %d classes", set.Train.N(), set.Val.N(), set.Test.N(), set.Classes)
	}
	all := append(append([]uint8{}, set.Train.Images...), set.Val.Images...)
	mean, std := moments(all, set.C)
	for c := range mean {
		if math.Abs(float64(mean[c]-set.Mean[c])) > 1e-5 || math.Abs(float64(std[c]-set.Std[c])) > 1e-5 {
			t.Errorf("channel %d: mean %.5f, std %.5f, the catalogue says %.5f, %.5f", c, mean[c], std[c], set.Mean[c], set.Std[c])
		}
	}
	counts := func(s Split) (out [10]int) {
		for _, l := range s.Labels {
			out[l]++
		}
		return out
	}
	had, got := counts(Split{Labels: append(append([]int32{}, set.Train.Labels...), set.Val.Labels...)}), counts(set.Val)
	for c := range had {
		if ideal := float64(had[c]*val) / float64(train+val); math.Abs(float64(got[c])-ideal) > 1 {
			t.Errorf("class %d: %d validation images, ideal %.1f", c, got[c], ideal)
		}
	}
}

// TestRealIDX reads Fashion-MNIST and MNIST where the cache or the system has them, or fetches them
// when WEFT_FETCH is set.
func TestRealIDX(t *testing.T) {
	for _, s := range catalogue[:2] {
		t.Run(s.name, func(t *testing.T) {
			o, err := Options{}.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			local := *s
			if os.Getenv("WEFT_FETCH") == "" {
				local.origins = nil
				if first, ok := s.origins[0].(installed); ok {
					local.origins = []origin{first}
				}
				o.CacheDir, err = cacheCopy(t, filepath.Join(o.CacheDir, s.name))
				if err != nil && !isDir("/usr/share/datasets/"+s.name) {
					t.Skipf("%s is neither cached nor installed: set WEFT_FETCH=1 to fetch it", s.name)
				}
			}
			set, err := local.load(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			checkReal(t, set, 55000, 5000, 10000)
		})
	}
}

// cacheCopy links a cached set into a cache of the test's own, so that the test changes nothing.
func cacheCopy(t *testing.T, dir string) (string, error) {
	to := t.TempDir()
	if !isDir(dir) {
		return to, os.ErrNotExist
	}
	return to, os.Symlink(dir, filepath.Join(to, filepath.Base(dir)))
}

// TestRealCIFAR10 reads the copy of CIFAR-10 that may lie beside the checkout.
func TestRealCIFAR10(t *testing.T) {
	unpack, err := filepath.Abs("../../shared/data/cifar10/unpack.go")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(unpack); err != nil {
		t.Skip("no CIFAR-10 beside the checkout")
	}
	if testing.Short() {
		t.Skip("unpacking takes seconds")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", unpack, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	set, err := Load(t.Context(), "cifar10", Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	checkReal(t, set, 45000, 5000, 10000)
	if set.Official || !strings.Contains(set.Source, "unofficial copy") {
		t.Errorf("official %v, source %s", set.Official, set.Source)
	}
	if err := os.Truncate(filepath.Join(dir, "data_batch_3.bin"), 1000); err != nil {
		t.Fatal(err)
	}
	_, err = Load(t.Context(), "cifar10", Options{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "data_batch_3.bin is truncated: 1000 bytes instead of 30730000") {
		t.Error(err)
	}
}
