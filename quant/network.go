package quant

import (
	"math"

	"weft/kernel"
	"weft/tensor"
)

// Kind says what an operation computes; the package comment has the formulas.
type Kind uint8

// Kinds of operations. Squeeze-and-excite is GlobalPool, two Conv and Mul.
const (
	Conv Kind = iota
	Depthwise
	FC
	Add
	Mul
	MaxPool
	AvgPool
	GlobalPool
)

func (k Kind) String() string {
	return [...]string{"conv", "depthwise", "fc", "add", "mul", "maxpool", "avgpool", "globalpool"}[k]
}

// Value is a tensor between operations: the shape of one image and what its bytes stand
// for. Logits are reals and have no Params.
type Value struct {
	tensor.Shape
	Params
}

// Op is one operation on values.
type Op struct {
	Kind    Kind
	Name    string // of the layer
	In, Out int    // values
	Res     int    // residual of Conv, second value of Add, gate of Mul; else −1
	K       int    // window; its padding is (K−1)/2 on every side
	Stride  int
	Act     kernel.Act
	// Own is what a convolution is quantised by before its residual is added or its
	// activation looked up; without either it is the Params of Out.
	Own Params
	// W are the weights of Conv, Depthwise and FC, of which the first channels are in use.
	// An FC reads all values of its input, pixel by pixel.
	W      *Weights
	WScale []float32 // scale of the weights of each output in use; negative where the normalisation's is
	Bias   []int32
}

// Looked reports whether the activation is a table rather than a clamp.
func (o *Op) Looked() bool { return o.Act != kernel.Linear && o.Act != kernel.ReLU }

// Network is a quantised subnet. Value 0 is the image, (pixel/255 − Mean)/Std; the last
// operation gives the logits.
type Network struct {
	Mean, Std []float32
	Values    []Value
	Ops       []Op
}

// Affine sets WScale and Bias for inputs of scale sx from a normalisation; a nil scale
// stands for ones and a nil shift for zeros.
func (o *Op) Affine(sx float32, scale, shift []float32, outputs int) {
	o.WScale, o.Bias = make([]float32, outputs), make([]int32, outputs)
	for c := range outputs {
		s, b := o.W.Scale[c], float32(0)
		if scale != nil {
			s *= scale[c]
		}
		if shift != nil {
			b = shift[c]
		}
		// A channel that is next to nothing but its shift: its weights would need a bias
		// beyond 30 bits. They stay small beside the shift with this scale.
		if least := max(minScale*minScale, max(b, -b)/sx/(0.999*kernel.MaxBias8)); max(s, -s) < least {
			s = float32(math.Copysign(float64(least), float64(s)))
		}
		o.WScale[c] = s
		o.Bias[c] = int32(math.RoundToEven(float64(b) / (float64(sx) * float64(s))))
	}
}
