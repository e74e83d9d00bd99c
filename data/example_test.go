package data_test

import (
	"context"
	"fmt"
	"image"
	"image/png"
	"log"
	"os"
	"path/filepath"

	"weft/data"
)

// A folder of images a class becomes a set; a loader turns its training images into batches.
func Example() {
	dir, err := os.MkdirTemp("", "shades-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for class, shade := range map[string]uint8{"dark": 0, "light": 255} {
		for i := range 10 {
			save(filepath.Join(dir, class, fmt.Sprint(i, ".png")), shade)
		}
	}

	set, err := data.Load(context.Background(), dir, data.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(set.ClassNames, set.Train.N(), set.Val.N(), set.Test.N())

	loader, err := data.NewLoader(set, set.Train, data.LoaderConfig{Batch: 4, Augment: data.Augment{Pad: 1, Flip: true}})
	if err != nil {
		log.Fatal(err)
	}
	defer loader.Close()
	batch, err := loader.Next()
	if err != nil {
		log.Fatal(err)
	}
	defer batch.Release()
	fmt.Println(batch.N, len(batch.Images), loader.Steps())
	// Output:
	// [dark light] 15 1 4
	// 4 256 3
}

func save(path string, shade uint8) {
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range img.Pix {
		img.Pix[i] = shade
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		log.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		log.Fatal(err)
	}
}
