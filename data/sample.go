package data

// Sample returns n training images in normalised, augmented batches of at most size
// images, [size][H][W][C], the same for the same seed. It serves the statistics of
// SubnetNorm, which are measured on images as training sees them.
func Sample(set *Set, split Split, n, size int, a Augment, seed uint64) ([][]float32, error) {
	n = min(n, split.N())
	size = min(size, n)
	l, err := NewLoader(set, split, LoaderConfig{Batch: size, Augment: a, Seed: seed})
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
		out = append(out, append([]float32(nil), b.Images[:take*set.ImageSize()]...))
		have += take
		b.Release()
	}
	return out, nil
}
