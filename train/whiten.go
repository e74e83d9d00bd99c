package train

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"weft/nn"
)

// whitenImages is how many training images the stem's patches are taken from, spread over all of them: a folder's are in the
// order of their classes.
const whitenImages = 2000

// whiten makes the filters of the first convolution the principal components of patches of
// normalised training images, scaled to unit variance: e₁/√(λ₁+ε), −e₁/√(λ₁+ε), e₂/√(λ₂+ε)
// and so on, by falling λ, so that every prefix of the channels has the strongest ones.
// Filters beyond twice the size of a patch stay as they were drawn. (Page, "How to Train Your
// ResNet 8", 2019; Jordan 2024.) The filters go on to be trained.
func (t *Trainer) whiten(g *nn.Graph) error {
	op := &g.Ops[0]
	if op.Kind != nn.Conv || op.In != 0 {
		return errors.New("the first layer of the space is no convolution, so its filters cannot be whitened")
	}
	in, k := g.Values[0], op.K
	size := k * k * in.C
	cov := t.patchCovariance(k, size)
	var eigen mat.EigenSym
	if !eigen.Factorize(cov, true) {
		return fmt.Errorf("the patches of %s have no principal components; train without whitening", t.Set.Name)
	}
	values := eigen.Values(nil) // ascending
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	w := t.Net.W
	p := w.Find(op.Layer, nn.Weight)
	filters := w.Canonical(w.Data, p) // [out][ky][kx][in]
	const eps = 5e-4
	for o := range min(len(filters)/size, 2*size) {
		j := size - 1 - o/2
		scale := 1 / math.Sqrt(max(values[j], 0)+eps)
		if o%2 == 1 {
			scale = -scale
		}
		for i := range size {
			filters[o*size+i] = float32(scale * vectors.At(i, j))
		}
	}
	w.SetCanonical(w.Data, p, filters)
	return nil
}

// patchCovariance returns the second moments of the k x k patches that the images are cut into, side by side.
func (t *Trainer) patchCovariance(k, size int) *mat.SymDense {
	set := t.Set
	norm := set.Normaliser()
	image, patch := make([]float32, set.ImageSize()), make([]float64, size)
	cov, patches := mat.NewSymDense(size, nil), 0
	v := mat.NewVecDense(size, patch)
	n := min(set.Train.N(), whitenImages)
	for i := range n {
		norm.Apply(image, set.Train.Image(i*set.Train.N()/n))
		for y := 0; y+k <= set.H; y += k {
			for x := 0; x+k <= set.W; x += k {
				for j := range patch {
					dy, dx, c := j/(k*set.C), j/set.C%k, j%set.C
					patch[j] = float64(image[((y+dy)*set.W+x+dx)*set.C+c])
				}
				cov.SymRankOne(cov, 1, v)
				patches++
			}
		}
	}
	cov.ScaleSym(1/float64(max(patches, 1)), cov)
	return cov
}
