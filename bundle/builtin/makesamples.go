//go:build ignore

// Makesamples writes samples.safetensors: the first five test images of each class of
// Fashion-MNIST, in turns.
package main

import (
	"context"
	"log"

	"weft/data"
	"weft/safetensors"
)

const perClass = 5

func main() {
	set, err := data.Load(context.Background(), "fashion-mnist", data.Options{})
	if err != nil {
		log.Fatal(err)
	}
	byClass := make([][]int, set.Classes)
	for i, l := range set.Test.Labels {
		byClass[l] = append(byClass[l], i)
	}
	var order []int
	for k := range perClass {
		for _, images := range byClass {
			order = append(order, images[k])
		}
	}
	s := set.Test.Subset(order)
	f := safetensors.File{
		Metadata: map[string]string{"source": "Fashion-MNIST, test images; MIT licence, Zalando SE"},
		Tensors: []safetensors.Tensor{
			{Name: "images", DType: safetensors.U8, Shape: []int{s.N(), set.H, set.W, set.C}, Data: s.Images},
			safetensors.NewI32("labels", []int{s.N()}, s.Labels),
		},
	}
	if err := f.WriteFile("samples.safetensors"); err != nil {
		log.Fatal(err)
	}
}
