package safetensors_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"weft/safetensors"
)

// Tensors and metadata go into one file, half-precision ones at half the size.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "safetensors-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "net.safetensors")

	file := safetensors.File{
		Metadata: map[string]string{"made by": "example"},
		Tensors: []safetensors.Tensor{
			safetensors.NewF32("weight", []int{2, 2}, []float32{1, 2, 3, 4}),
			safetensors.NewF16("mean", []int{2}, []float32{0.5, -0.25}),
		},
	}
	if err := file.WriteFile(path); err != nil {
		log.Fatal(err)
	}
	back, err := safetensors.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	mean, err := back.ByName()["mean"].F32()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(back.Metadata["made by"], mean)
	// Output: example [0.5 -0.25]
}
