package data

import "slices"

// Sample returns n training images in normalised, augmented batches of at most size
// images, [size][H][W][C], none twice, the same for the same seed. It serves the statistics of
// SubnetNorm, which are measured on images as training sees them.
func Sample(set *Set, split Split, n, size int, a Augment, seed uint64) ([][]float32, error) {
	n = min(n, split.N())
	size = min(size, n)
	batch := size
	if n > split.N()/size*size { // the next epoch would bring some images again before others came once
		batch = n
	}
	l, err := NewLoader(set, split, LoaderConfig{Batch: batch, Augment: a, Seed: seed})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	var out [][]float32
	for have := 0; have < n; {
		b, err := l.Next()
		if err != nil {
			return nil, err
		}
		take := min(b.N, n-have)
		for images := range slices.Chunk(b.Images[:take*set.ImageSize()], size*set.ImageSize()) {
			out = append(out, slices.Clone(images))
		}
		have += take
		b.Release()
	}
	return out, nil
}
