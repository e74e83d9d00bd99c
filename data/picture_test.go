package data

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// FuzzPicture reads any bytes as a picture of a folder: an error, or as many pixels as the set has.
func FuzzPicture(f *testing.F) {
	for _, img := range []image.Image{
		image.NewGray(image.Rect(0, 0, 4, 3)), image.NewNRGBA64(image.Rect(0, 0, 3, 3)), image.NewCMYK(image.Rect(0, 0, 2, 2)),
		image.NewPaletted(image.Rect(0, 0, 2, 5), color.Palette{color.Black, color.White}),
	} {
		var b bytes.Buffer
		if png.Encode(&b, img) == nil {
			f.Add(bytes.Clone(b.Bytes()), uint8(0))
		}
		b.Reset()
		if err := jpeg.Encode(&b, img, nil); err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(b.Bytes()), uint8(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		p := picture{path: filepath.Join(t.TempDir(), "a.png")}
		if err := os.WriteFile(p.path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, _, err := image.DecodeConfig(bytes.NewReader(data)); err == nil && c.Width > 1<<10 || c.Height > 1<<10 {
			return // the library decodes these too, which only takes its time
		}
		var s Set
		if s.shapeOf([]picture{p}, int(size)) != nil {
			return
		}
		if err := p.readHeader(); err != nil {
			t.Fatal(err)
		}
		dst := make([]uint8, s.ImageSize())
		_ = s.decodeOne(dst, &p)
	})
}
