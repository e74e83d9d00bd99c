package nn

import (
	"fmt"
	"math"
	"math/rand/v2"

	"weft/kernel"
	"weft/tensor"
)

// Role says what a parameter is to its layer.
type Role uint8

// Roles of parameters. SE layers have Weight, Bias (to the hidden channels), Weight2 and
// Bias2 (back to the channels). Transform is the matrix of one smaller depthwise kernel.
const (
	Weight Role = iota
	Bias
	Weight2
	Bias2
	Gamma
	Beta
	Transform
)

func (r Role) String() string {
	return [...]string{"weight", "bias", "weight2", "bias2", "gamma", "beta", "transform"}[r]
}

// Param is one trainable tensor inside the flat vector of Weights.
type Param struct {
	Name     string // layer name, dot, role
	Layer    int
	Role     Role
	Kernel   int   // Transform: the kernel size it makes
	Shape    []int // canonical shape, see Weights.Canonical
	Off, Len int   // place in Weights.Data, in the layout of the kernels
	Decays   bool  // weight decay applies: to weights, not to biases nor normalisation
}

// Weights are the parameters of all layers at their maximum sizes, in one vector and in
// the layout that the kernels read (package kernel). Gradients and momentum are vectors
// of the same length.
type Weights struct {
	Layers []Layer
	Params []Param
	Data   []float32
	index  [][]int // layer, role -> parameter, -1 without
}

// NewWeights lays out zeroed weights for the layers, with normalisation scales of 1 and
// identity kernel transforms.
func NewWeights(layers []Layer) *Weights {
	w := &Weights{Layers: layers}
	for i := range layers {
		w.addLayer(i)
	}
	w.Data = tensor.Floats(w.size())
	for i := range w.Params {
		p := &w.Params[i]
		d := w.Data[p.Off:][:p.Len]
		switch p.Role {
		case Gamma:
			for j := range d[:p.Shape[0]] {
				d[j] = 1
			}
		case Transform:
			for j := range p.Shape[0] {
				d[j*p.Shape[1]+j] = 1
			}
		}
	}
	return w
}

func (w *Weights) size() int {
	if len(w.Params) == 0 {
		return 0
	}
	p := w.Params[len(w.Params)-1]
	return align(p.Off + p.Len)
}

func align(n int) int { return (n + 15) &^ 15 }

func (w *Weights) addLayer(i int) {
	l := &w.Layers[i]
	w.index = append(w.index, []int{-1, -1, -1, -1, -1, -1, -1})
	add := func(r Role, kern, length int, shape ...int) {
		name := l.Name + "." + r.String()
		if kern > 0 {
			name = fmt.Sprintf("%s%d", name, kern)
		}
		if w.index[i][r] < 0 {
			w.index[i][r] = len(w.Params)
		}
		w.Params = append(w.Params, Param{
			Name: name, Layer: i, Role: r, Kernel: kern, Shape: shape,
			Off: w.size(), Len: length, Decays: r == Weight || r == Weight2 || r == Transform,
		})
	}
	switch l.Kind {
	case Conv:
		add(Weight, 0, kernel.PackedLen(l.Out, l.Taps(), l.In), l.Out, l.K, l.K, l.In)
	case Depthwise:
		add(Weight, 0, l.Taps()*l.Out, l.Out, l.K, l.K)
		for _, k := range l.Kernels {
			add(Transform, k, k*k*k*k, k*k, k*k)
		}
	case FC:
		add(Weight, 0, kernel.PackedLen(l.Out, 1, l.In), l.Out, l.In)
		add(Bias, 0, kernel.Panels(l.Out)*kernel.Panel, l.Out)
	case SE:
		add(Weight, 0, kernel.PackedLen(l.Hidden, 1, l.In), l.Hidden, l.In)
		add(Bias, 0, kernel.Panels(l.Hidden)*kernel.Panel, l.Hidden)
		add(Weight2, 0, kernel.PackedLen(l.In, 1, l.Hidden), l.In, l.Hidden)
		add(Bias2, 0, kernel.Panels(l.In)*kernel.Panel, l.In)
	default:
		panic(fmt.Sprintf("nn: layer %s of kind %v has no weights", l.Name, l.Kind))
	}
	if l.Norm {
		add(Gamma, 0, kernel.Panels(l.Out)*kernel.Panel, l.Out)
		add(Beta, 0, kernel.Panels(l.Out)*kernel.Panel, l.Out)
	}
}

// Of returns the slice of vec (Data, or a gradient of the same layout) that holds a
// role of a layer, or nil when the layer has none.
func (w *Weights) Of(vec []float32, layer int, r Role) []float32 {
	i := w.index[layer][r]
	if i < 0 {
		return nil
	}
	p := &w.Params[i]
	return vec[p.Off:][:p.Len]
}

// Find returns the number of the parameter with a role of a layer, or -1.
func (w *Weights) Find(layer int, r Role) int { return w.index[layer][r] }

// TransformOf returns the matrix that makes kernel size k of a depthwise layer.
func (w *Weights) TransformOf(vec []float32, layer, k int) []float32 {
	for i := w.index[layer][Transform]; i >= 0 && i < len(w.Params) && w.Params[i].Layer == layer; i++ {
		if p := &w.Params[i]; p.Role == Transform && p.Kernel == k {
			return vec[p.Off:][:p.Len]
		}
	}
	return nil
}

// Init draws He-normal weights (fan-out, as DepS does: standard deviation
// √(2 / (K²·Out)); depthwise √(2 / K²)) and, for fully connected layers, the uniform
// distribution within ±1/√In.
func (w *Weights) Init(rng *rand.Rand) {
	for i := range w.Params {
		p := &w.Params[i]
		l := &w.Layers[p.Layer]
		if p.Role != Weight && p.Role != Weight2 {
			continue
		}
		vals := make([]float32, prod(p.Shape))
		for j := range vals {
			switch l.Kind {
			case Conv:
				vals[j] = float32(rng.NormFloat64() * math.Sqrt(2/float64(l.Taps()*l.Out)))
			case Depthwise:
				vals[j] = float32(rng.NormFloat64() * math.Sqrt(2/float64(l.Taps())))
			default:
				vals[j] = float32((2*rng.Float64() - 1) / math.Sqrt(float64(p.Shape[1])))
			}
		}
		w.SetCanonical(w.Data, i, vals)
	}
}

func prod(s []int) int {
	n := 1
	for _, v := range s {
		n *= v
	}
	return n
}

// place maps canonical element j of a parameter to its place in the packed slice.
func (w *Weights) place(p *Param, j int) int {
	l := &w.Layers[p.Layer]
	switch {
	case p.Role == Weight && l.Kind == Conv:
		in, taps := l.In, l.Taps()
		return kernel.PackedIndex(taps, in, j/(taps*in), j/in%taps, j%in)
	case p.Role == Weight && l.Kind == Depthwise:
		return l.ring(j%l.Taps())*l.Out + j/l.Taps()
	case p.Role == Weight || p.Role == Weight2:
		in := p.Shape[1]
		return kernel.PackedIndex(1, in, j/in, 0, j%in)
	default:
		return j
	}
}

// ring returns the number in ring order of raster tap t.
func (l *Layer) ring(t int) int {
	want := kernel.Raster(l.K)[t]
	for i, r := range kernel.Rings(l.K) {
		if r == want {
			return i
		}
	}
	panic("nn: kernel is even")
}

// Canonical returns the values of parameter i in vec (Data, or a vector of the same
// layout) in their canonical order, the one that files use: dense weights [out][ky][kx][in] (fully connected [out][in]), depthwise
// [channel][ky][kx], vectors as they are, transforms [tap out][tap in] with taps in ring
// order.
func (w *Weights) Canonical(vec []float32, i int) []float32 {
	p := &w.Params[i]
	src := vec[p.Off:][:p.Len]
	dst := make([]float32, prod(p.Shape))
	for j := range dst {
		dst[j] = src[w.place(p, j)]
	}
	return dst
}

// SetCanonical stores values given in canonical order into vec.
func (w *Weights) SetCanonical(vec []float32, i int, vals []float32) {
	p := &w.Params[i]
	if len(vals) != prod(p.Shape) {
		panic(fmt.Sprintf("nn: %s takes %d values, not %d", p.Name, prod(p.Shape), len(vals)))
	}
	dst := vec[p.Off:][:p.Len]
	for j, v := range vals {
		dst[w.place(p, j)] = v
	}
}
