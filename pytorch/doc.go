// Package pytorch reads checkpoints of PyTorch, in its zip format and in the one before
// version 1.6, without running anything in them, and turns the networks that it knows into
// bundles: OFA's supernets and CIFAR's ResNets. docs/formats/pytorch.md describes the files
// and the names that are understood.
package pytorch
