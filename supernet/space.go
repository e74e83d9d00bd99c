// Package supernet knows what may vary between the subnets of a weight-shared network: a
// Space describes it, an Arch is one point of it, and Lower turns an Arch into a graph over
// prefixes of the supernet's layers.
package supernet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"weft/nn"
	"weft/tensor"
)

// Family says what a block of a Space is made of.
type Family string

// Families of blocks. MBV3 is MobileNetV3's inverted residual (expansion, depthwise,
// squeeze-and-excite, projection), as OFA makes it elastic. Basic is ResNet's block of two
// 3x3 convolutions. Bottleneck is ResNet-D's block of 1x1, 3x3 and 1x1 convolutions, with
// its stem of three convolutions.
const (
	MBV3       Family = "mbv3"
	Basic      Family = "basic"
	Bottleneck Family = "bottleneck"
)

// Limits of a Space. They bound the size of an Arch and keep a damaged description from
// asking for absurd amounts of memory.
const (
	MaxStages = 6
	MaxBlocks = 24
	MaxSlots  = MaxStages + 2 // of depths and of widths, with those of the stem

	maxChannels = 1 << 14
	maxPixels   = 1 << 20
	maxChoices  = math.MaxUint8 // of expansions and of widths: an Arch has a byte for each
	maxWeights  = 1 << 29       // of all layers together
	maxValues   = 1 << 26       // of one activation
)

// Space says what may vary between the subnets of one supernet and what is fixed; it
// determines every layer. Lists of choices ascend, so that the first is the smallest. A
// list of one choice is not elastic. A Space must not be changed once it is in use.
type Space struct {
	Name    string       `json:"name"`
	Family  Family       `json:"family"`
	Input   tensor.Shape `json:"input"`
	Classes int          `json:"classes"`
	Stem    Stem         `json:"stem,omitzero"`
	Stages  []Stage      `json:"stages,omitempty"`
	Head    Head         `json:"head,omitzero"`

	// Expansions are the ratios of a block's middle channels to its outputs (to its inputs
	// in MBV3), chosen for each block.
	Expansions []float64 `json:"expansions,omitempty"`
	// Kernels are the depthwise kernels of MBV3, chosen for each block.
	Kernels []int `json:"kernels,omitempty"`
	// Widths multiply the channels of a stage, chosen for each stage.
	Widths []float64 `json:"widths,omitempty"`
	// Nodes are the network of a Fixed space, which has nothing of the above from Stem on.
	Nodes []Node `json:"nodes,omitempty"`

	once   sync.Once
	layers []nn.Layer
}

// Stem is what comes before the first stage: one 3x3 convolution, which in MBV3 is followed
// by a fixed block without expansion, or ResNet-D's three 3x3 convolutions (the first two
// at half the width, the middle one may be skipped) and a 3x3 maximum pool in Bottleneck.
// The stem of Basic and MBV3 has the width multiplier of the first stage; that of
// Bottleneck has two of its own, for its first two convolutions and for its last.
type Stem struct {
	Width  int `json:"width"`
	Stride int `json:"stride"`          // of the first convolution
	Block  int `json:"block,omitempty"` // MBV3: outputs of the fixed block
}

// Stage is a run of blocks with equal outputs.
type Stage struct {
	Width  int   `json:"width"`  // outputs at multiplier 1
	Stride int   `json:"stride"` // of the first block
	Depths []int `json:"depths"` // a subnet runs the first so many blocks
	SE     bool  `json:"se,omitempty"`
	HSwish bool  `json:"hswish,omitempty"` // instead of ReLU
}

// Head is what MBV3 has between the last stage and the classifier: a 1x1 convolution to
// Width channels, the global mean, and a 1x1 convolution without normalisation to Mix
// channels. Both have the width multiplier of the last stage.
type Head struct {
	Width int `json:"width"`
	Mix   int `json:"mix"`
}

// spaces builds every named space for a number of classes and of input channels.
var spaces = map[string]func() *Space{
	"ofa-mbv3":      ofaMBV3,
	"ofa-mbv3-k357": elasticKernel(ofaMBV3, 3, 5, 7),
	"mbv3-32":       mbv332,
	"mbv3-32s":      mbv332s,
	"mbv3-28":       mbv328,
	"mbv3-28-k35":   elasticKernel(mbv328, 3, 5),
	"ofa-resnet50d": ofaResNet50D,
	"resnet-32":     resnet32,
	"resnet-32w":    resnet32w,
	"resnet-32s":    resnet32s,
	"resnet-28":     resnet28,
	"resnet-28s":    resnet28s,
}

// Names returns the names that Find knows, sorted.
func Names() []string {
	names := make([]string, 0, len(spaces))
	for n := range spaces {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Find returns the named space for so many classes and input channels.
func Find(name string, classes, channels int) (*Space, error) {
	build, ok := spaces[name]
	if !ok {
		return nil, fmt.Errorf("no space is called %q: choose one of %s", name, strings.Join(Names(), ", "))
	}
	s := build()
	s.Name, s.Classes, s.Input.C = name, classes, channels
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

// Define reads a space from a description as Decode does, for so many classes and images of that shape, which take the place of
// what the description says of them; sides of images that it does say are kept. Its name must not be one that Find knows.
func Define(description []byte, classes int, images tensor.Shape) (*Space, error) {
	s, err := parse(description)
	if err != nil {
		return nil, err
	}
	if _, known := spaces[s.Name]; known || s.Name == "" {
		return nil, fmt.Errorf("the description names its space %q: give it a name of its own", s.Name)
	}
	if s.Family == Fixed {
		return nil, fmt.Errorf("space %q: nothing varies in family %s: choose %s, %s or %s", s.Name, Fixed, MBV3, Basic, Bottleneck)
	}
	s.Classes, s.Input.C = classes, images.C
	if s.Input.H == 0 && s.Input.W == 0 {
		s.Input = images
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

// At returns the same space for inputs of pixels by pixels. Its layers are those of s, so
// that the same weights serve both; statistics of normalisation are its own.
func (s *Space) At(pixels int) (*Space, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("describe space %q: %w", s.Name, err)
	}
	c := new(Space)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("describe space %q: %w", s.Name, err)
	}
	c.Input.H, c.Input.W = pixels, pixels
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// Decode reads a Space from the JSON that encoding/json makes of it and validates it.
func Decode(data []byte) (*Space, error) {
	s, err := parse(data)
	if err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

func parse(data []byte) (*Space, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	s := new(Space)
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("read the description of a space: %w", err)
	}
	if d.More() {
		return nil, errors.New("read the description of a space: something follows it")
	}
	return s, nil
}

// Validate reports the first thing that keeps the space from describing networks.
func (s *Space) Validate() error {
	if err := s.validate(); err != nil {
		return fmt.Errorf("space %q: %w", s.Name, err)
	}
	return nil
}

func (s *Space) validate() error {
	in := s.Input
	switch {
	case s.Family != MBV3 && s.Family != Basic && s.Family != Bottleneck && s.Family != Fixed:
		return fmt.Errorf("family is %q: must be %s, %s or %s", s.Family, MBV3, Basic, Bottleneck)
	case in.H < 1 || in.W < 1 || in.H > maxPixels || in.W > maxPixels/in.H:
		return fmt.Errorf("input is %dx%d: must have 1 to %d pixels", in.H, in.W, maxPixels)
	case s.Family == Fixed:
		return s.validateFixed()
	case len(s.Nodes) > 0:
		return fmt.Errorf("family %s alone has nodes", Fixed)
	case len(s.Stages) < 1 || len(s.Stages) > MaxStages:
		return fmt.Errorf("has %d stages: must have 1 to %d", len(s.Stages), MaxStages)
	case (s.Family == MBV3) != (s.Stem.Block != 0 || s.Head != Head{}):
		return fmt.Errorf("family %s alone has a block in the stem and a head", MBV3)
	case s.Family != MBV3 && !slices.Equal(s.Kernels, []int{3}):
		return fmt.Errorf("kernels are %v: family %s has 3 alone", s.Kernels, s.Family)
	}
	if err := s.validateSizes(); err != nil {
		return err
	}
	if err := s.validateChoices(); err != nil {
		return err
	}
	g := s.layout()
	if err := g.Check(); err != nil {
		return fmt.Errorf("input %v does not fit the strides: %w", s.Input, err)
	}
	return checkMemory(g)
}

// checkMemory reports a network that is larger than any machine would train or serve.
func checkMemory(g *nn.Graph) error {
	weights := 0
	for i := range g.Layers {
		if weights += g.Layers[i].Weights(); weights > maxWeights {
			return fmt.Errorf("has more than %d weights: choose fewer channels or blocks", maxWeights)
		}
	}
	for _, v := range g.Values {
		if v.Size() > maxValues {
			return fmt.Errorf("makes %v of an image: must have at most %d values", v, maxValues)
		}
	}
	return nil
}

func (s *Space) validateSizes() error {
	sizes := map[string]int{"input channels": s.Input.C, "classes": s.Classes, "stem width": s.Stem.Width}
	if s.Family == MBV3 {
		sizes["stem block"], sizes["head width"], sizes["head mix"] = s.Stem.Block, s.Head.Width, s.Head.Mix
	}
	strides := []int{s.Stem.Stride}
	for m := range s.Stages {
		sizes[fmt.Sprintf("stage %d width", m+1)] = s.Stages[m].Width
		strides = append(strides, s.Stages[m].Stride)
	}
	for what, n := range sizes {
		if n < 1 || n > maxChannels {
			return fmt.Errorf("%s is %d: must be 1 to %d", what, n, maxChannels)
		}
	}
	for _, n := range strides {
		if n != 1 && n != 2 {
			return fmt.Errorf("a stride is %d: must be 1 or 2", n)
		}
	}
	return nil
}

func (s *Space) validateChoices() error {
	if !ascending(s.Expansions, 0.01, 16) || !hundredths(s.Expansions) {
		return fmt.Errorf("expansions are %v: must ascend from 0.01 to 16 at most, in steps of 0.01; [1] is one expansion", s.Expansions)
	}
	if !ascending(s.Widths, 0.01, 16) || !hundredths(s.Widths) {
		return fmt.Errorf("widths are %v: must ascend from 0.01 to 16 at most, in steps of 0.01; [1] is one width", s.Widths)
	}
	if n := max(len(s.Expansions), len(s.Widths)); n > maxChoices {
		return fmt.Errorf("has a list of %d choices: must have at most %d", n, maxChoices)
	}
	if !ascending(s.Kernels, 1, 7) || slices.ContainsFunc(s.Kernels, func(k int) bool { return k%2 == 0 }) {
		return fmt.Errorf("kernels are %v: must be odd and ascend up to 7", s.Kernels)
	}
	blocks := 0
	for m := range s.Stages {
		if !ascending(s.Stages[m].Depths, 1, MaxBlocks) {
			return fmt.Errorf("depths of stage %d are %v: must ascend from 1 to %d at most", m+1, s.Stages[m].Depths, MaxBlocks)
		}
		blocks += s.maxDepth(m)
	}
	if blocks > MaxBlocks {
		return fmt.Errorf("has %d blocks: must have at most %d", blocks, MaxBlocks)
	}
	return nil
}

// ascending reports whether v is not empty and rises strictly within [lo, hi].
func ascending[T int | float64](v []T, lo, hi T) bool {
	if len(v) == 0 || !(v[0] >= lo) {
		return false
	}
	for i := 1; i < len(v); i++ {
		if !(v[i] > v[i-1]) {
			return false
		}
	}
	return v[len(v)-1] <= hi
}

// hundredths reports whether every value is a whole number of hundredths, so that the text
// form of an Arch tells all of them.
func hundredths(v []float64) bool {
	for _, x := range v {
		if math.Abs(x*100-math.Round(x*100)) > 1e-9 {
			return false
		}
	}
	return true
}

// MakeDivisible returns the multiple of 8 nearest to v, at least 8 and at least 0.9·v
// (make_divisible of OFA and MobileNet).
func MakeDivisible(v float64) int {
	n := max(8, int(v+4)/8*8)
	if float64(n) < 0.9*v {
		n += 8
	}
	return n
}
