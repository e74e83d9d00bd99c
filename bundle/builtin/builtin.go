// Package builtin holds the model that comes with weft, a supernet trained by weft on
// Fashion-MNIST, and a few dozen test images with their labels, so that serving and
// benchmarking work with nothing else. README.md shows the commands that made them.
package builtin

import (
	_ "embed"
	"fmt"

	"weft/safetensors"
)

//go:generate go run makesamples.go

//go:embed fashion.weft
var model []byte

//go:embed samples.safetensors
var samples []byte

// Model returns the bundle's file. It must not be changed.
func Model() []byte { return model }

// Samples returns the images, [n][28][28][1] bytes, and their labels. They are the first
// of the test images of each class, in turns.
func Samples() (images []uint8, labels []int32, err error) {
	f, err := safetensors.Decode(samples)
	if err != nil {
		return nil, nil, fmt.Errorf("the built-in images: %w", err)
	}
	t := f.ByName()
	labels, err = t["labels"].I32()
	return t["images"].Data, labels, err
}
