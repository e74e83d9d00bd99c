package main

import (
	"weft/bundle"
	"weft/pytorch"
	"weft/supernet"
)

// importPyTorch imports a network that package pytorch knows.
func importPyTorch(path string, flags importFlags) (*bundle.Bundle, []string, error) {
	state, err := pytorch.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	b, err := pytorch.Import(state, pytorch.Options{
		Name: flags.name, Mean: flags.mean, Std: flags.std, Pixels: flags.pixels, Subnets: flags.subnets,
	})
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	if b.Net.Space.Family != supernet.Fixed && flags.measure.data == "" {
		notes = append(notes, "statistics are those of the checkpoint, which fit no subnet well: name the images that it was trained on by --data to recalibrate")
	}
	return b, notes, nil
}
