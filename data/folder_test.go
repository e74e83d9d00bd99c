package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

func pngOf(t *testing.T, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// plain returns a picture of one colour.
func plain(w, h int, c color.Color) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.Set(x, y, c)
		}
	}
	return img
}

func grey(w, h int, v uint8) *image.Gray {
	img := image.NewGray(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = v
	}
	return img
}

func TestFolderWithTrainAndTest(t *testing.T) {
	dir := t.TempDir()
	for i := range 6 {
		write(t, filepath.Join(dir, "train/cat", fmt.Sprintf("%d.png", i)), pngOf(t, plain(4, 3, color.NRGBA{200, uint8(10 * i), 0, 255})))
	}
	write(t, filepath.Join(dir, "train/dog/only.PNG"), pngOf(t, plain(4, 3, color.NRGBA{0, 0, 255, 255})))
	write(t, filepath.Join(dir, "train/dog/notes.txt"), []byte("not an image"))
	write(t, filepath.Join(dir, "train/.hidden/x.png"), nil)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, grey(4, 3, 77), nil); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "test/dog/a.jpg"), b.Bytes())

	set, err := Load(t.Context(), dir, Options{ValImages: 2})
	if err != nil {
		t.Fatal(err)
	}
	if set.H != 3 || set.W != 4 || set.C != 3 || set.Classes != 2 || set.ClassNames[1] != "dog" {
		t.Fatalf("%+v", set)
	}
	if set.Train.N() != 5 || set.Val.N() != 2 || set.Test.N() != 1 {
		t.Fatalf("%d + %d + %d images", set.Train.N(), set.Val.N(), set.Test.N())
	}
	if dog := set.Train.Image(4); set.Train.Labels[4] != 1 || dog[0] != 0 || dog[2] != 255 {
		t.Errorf("the class of one image lost it to validation: label %d, pixel %v", set.Train.Labels[4], dog[:3])
	}
	if p := set.Test.Image(0); set.Test.Labels[0] != 1 || p[0] != 77 || p[1] != 77 || p[2] != 77 {
		t.Errorf("test image: label %d, pixel %v", set.Test.Labels[0], p[:3])
	}
	if m := float64(set.Mean[0]); math.Abs(m-4*200.0/5/255) > 1e-6 {
		t.Errorf("mean of red %g", m)
	}
	again, err := Load(t.Context(), dir, Options{ValImages: 2})
	if err != nil || again.Digest != set.Digest || len(set.Digest) != 64 {
		t.Errorf("digest %s, then %s (%v)", set.Digest, again.Digest, err)
	}
	moved, err := Load(t.Context(), "elsewhere", Options{DataDir: dir, ValImages: 2})
	if err != nil || moved.Digest != set.Digest {
		t.Errorf("after a move: %v", err)
	}
	if _, err := Load(t.Context(), "elsewhere", Options{DataDir: filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "with the images of elsewhere") {
		t.Error(err)
	}
	digests := map[string]bool{set.Digest: true}
	for _, size := range []int{4, 6} {
		scaled, err := Load(t.Context(), dir, Options{Size: size})
		if err != nil || digests[scaled.Digest] {
			t.Errorf("scaled to %d the set is told from no other: %v", size, err)
		}
		digests[scaled.Digest] = true
	}
}

func TestNamedSetsAreNotScaled(t *testing.T) {
	if _, err := Load(t.Context(), "mnist", Options{Size: 20}); err == nil || err.Error() != "images of mnist are of 28x28 pixels and are not scaled: leave the size out" {
		t.Error(err)
	}
}

func TestFolderWithoutTest(t *testing.T) {
	dir := t.TempDir()
	for c := range 3 {
		for i := range 10 {
			write(t, filepath.Join(dir, fmt.Sprint("class", c), fmt.Sprintf("%02d.png", i)), pngOf(t, grey(5, 5, uint8(20*c+i))))
		}
	}
	var tests []byte
	for seed := range uint64(2) {
		set, err := Load(t.Context(), dir, Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		if set.C != 1 || set.Train.N() != 22 || set.Val.N() != 2 || set.Test.N() != 6 {
			t.Fatalf("%d channels, %d + %d + %d images", set.C, set.Train.N(), set.Val.N(), set.Test.N())
		}
		seen := map[uint8]bool{}
		for _, s := range []Split{set.Train, set.Val, set.Test} {
			for i := range s.N() {
				v := s.Image(i)[0]
				if seen[v] || int32(v/20) != s.Labels[i] {
					t.Fatalf("image %d is in two splits or labelled %d", v, s.Labels[i])
				}
				seen[v] = true
			}
		}
		if seed > 0 && !bytes.Equal(tests, set.Test.Images) {
			t.Error("the test images depend on the seed")
		}
		tests = set.Test.Images
	}
}

func TestFolderErrors(t *testing.T) {
	good := func(dir string) {
		for i := range 3 {
			for _, class := range []string{"a", "b"} {
				write(t, filepath.Join(dir, class, fmt.Sprint(i, ".png")), pngOf(t, grey(4, 4, 9)))
			}
		}
	}
	tiny := pngOf(t, grey(1, 1, 0))
	huge := pngOf(t, grey(1, 1, 0))
	copy(huge[16:], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // 65536 x 65536 in the header
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	for name, tc := range map[string]struct {
		put  func(dir string)
		opt  Options
		want string
	}{
		"no classes":  {func(string) {}, Options{}, "DIR holds 0 class folders and needs two or more"},
		"empty class": {func(dir string) { good(dir); write(t, filepath.Join(dir, "c", "x.txt"), nil) }, Options{}, "class c has no images: put .png or .jpg files into DIR/c, or remove the folder"},
		"not an image": {
			func(dir string) { good(dir); write(t, filepath.Join(dir, "b", "x.png"), []byte("GIF89a")) },
			Options{},
			"DIR/b/x.png is not a readable image: image: unknown format",
		},
		"truncated": {func(dir string) {
			good(dir)
			b := pngOf(t, plain(4, 4, color.NRGBA{1, 2, 3, 255}))
			write(t, filepath.Join(dir, "b", "x.png"), b[:len(b)-20])
		}, Options{}, "DIR/b/x.png is not a readable image: png: invalid format: unexpected EOF"},
		"too large": {func(dir string) { good(dir); write(t, filepath.Join(dir, "b", "x.png"), huge) }, Options{}, "DIR/b/x.png is 65536 x 65536: images may have 1 to 67108864 pixels"},
		"sizes differ": {
			func(dir string) { good(dir); write(t, filepath.Join(dir, "b", "x.png"), pngOf(t, grey(6, 4, 1))) },
			Options{},
			"images differ in size (DIR/a/0.png is 4 x 4, DIR/b/x.png is 6 x 4): name one size to scale them all to",
		},
		"scaled too large": {good, Options{Size: math.MaxInt}, "images cannot be scaled to 9223372036854775807 x 9223372036854775807: they may have 1 to 67108864 pixels"},
		"too much": {func(dir string) {
			good(filepath.Join(dir, "train"))
			for i := range 600 {
				write(t, filepath.Join(dir, "train", "a", fmt.Sprint("more", i, ".png")), tiny)
				write(t, filepath.Join(dir, "test", "b", fmt.Sprint("more", i, ".png")), tiny)
			}
		}, Options{Size: 8192}, "1206 images of 8192 x 8192 pixels take more than 64 GiB of memory: name a smaller size"},
		"no test folder": {func(dir string) { good(filepath.Join(dir, "train")) }, Options{}, "DIR has a folder train but no folder test"},
		"unknown test class": {func(dir string) {
			good(filepath.Join(dir, "train"))
			good(filepath.Join(dir, "test"))
			write(t, filepath.Join(dir, "test", "z", "x.png"), pngOf(t, grey(4, 4, 1)))
		}, Options{}, "class z has test images in DIR/test/z but no training images"},
		"too few": {func(dir string) {
			for _, class := range []string{"a", "b"} {
				write(t, filepath.Join(dir, class, "x.png"), pngOf(t, grey(4, 4, 9)))
			}
		}, Options{}, "DIR leaves no images for the test"},
	} {
		dir := t.TempDir()
		tc.put(dir)
		_, err := Load(t.Context(), dir, tc.opt)
		if got := strings.ReplaceAll(fmt.Sprint(err), dir, "DIR"); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
	}
}

func TestFolderScales(t *testing.T) {
	dir := t.TempDir()
	for i := range 4 {
		write(t, filepath.Join(dir, "a", fmt.Sprint(i, ".png")), pngOf(t, grey(10+i, 8, 50)))
		write(t, filepath.Join(dir, "b", fmt.Sprint(i, ".png")), pngOf(t, grey(3, 5, 90)))
	}
	set, err := Load(t.Context(), dir, Options{Size: 6})
	if err != nil {
		t.Fatal(err)
	}
	if set.H != 6 || set.W != 6 {
		t.Fatalf("%d x %d", set.H, set.W)
	}
	for i := range set.Train.N() {
		for _, p := range set.Train.Image(i) {
			if want := []uint8{50, 90}[set.Train.Labels[i]]; p != want {
				t.Fatalf("scaling changed a plain %d to %d", want, p)
			}
		}
	}
}

func TestScaleSquare(t *testing.T) {
	ramp := make([]uint8, 8*4) // 4 rows of 8: the central square is columns 2..5
	for i := range ramp {
		ramp[i] = uint8(i%8) * 10
	}
	if got := scaleSquare(ramp, 8, 4, 1, 4); string(got[:4]) != string([]uint8{20, 30, 40, 50}) {
		t.Errorf("same size: %v", got[:4])
	}
	// Halving weighs four neighbours 1:3:3:1, cut at the border to 3:3:1 or 1:3:3.
	if got := scaleSquare(ramp, 8, 4, 1, 2); got[0] != 27 || got[1] != 43 {
		t.Errorf("half: %v, want 27 and 43", got[:2])
	}
}
