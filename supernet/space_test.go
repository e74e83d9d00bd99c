package supernet

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/nn"
	"weft/tensor"
)

func find(t testing.TB, name string, classes, channels int) *Space {
	t.Helper()
	s, err := Find(name, classes, channels)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func lower(t testing.TB, s *Space, text string) *nn.Graph {
	t.Helper()
	a, err := s.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Lower(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Check(); err != nil {
		t.Fatalf("%s of %s: %v", text, s.Name, err)
	}
	return g
}

// normFeatures counts the channels that are normalised.
func normFeatures(g *nn.Graph) int {
	n := 0
	for _, op := range g.Ops {
		if op.Layer >= 0 && g.Layers[op.Layer].Norm {
			n += g.Values[op.Out].C
		}
	}
	return n
}

// The MACs of the subnets in the figures of DepS (ECCV 2024): ImageNet at 224 pixels, and
// CIFAR-100 at 32.
func TestMACsOfMobileNetV3(t *testing.T) {
	for _, c := range []struct{ arch, px224, px32 string }{
		{"d2_e3", "151.3", "45.2"},
		{"d3_e3", "222.0", "68.4"},
		{"d4_e3", "292.7", "91.6"},
		{"d4_e4", "383.7", "120.9"},
		{"d3_e6", "424.4", "133.0"},
		{"d4_e6", "566.2", "179.8"},
		{"d2_e4", "195.0", "58.8"},
	} {
		got := []string{
			millions(lower(t, find(t, "ofa-mbv3", 1000, 3), c.arch).MACs(), 1),
			millions(lower(t, find(t, "mbv3-32", 100, 3), c.arch).MACs(), 1),
		}
		if diff := cmp.Diff([]string{c.px224, c.px32}, got); diff != "" {
			t.Errorf("%s (-published +counted):\n%s", c.arch, diff)
		}
	}
	// The elastic kernel at its largest is the same network.
	if n := lower(t, find(t, "ofa-mbv3-k357", 1000, 3), "d4_e6_k7").MACs(); millions(n, 1) != "566.2" {
		t.Errorf("largest subnet with elastic kernels has %d MACs", n)
	}
}

// Sizes that follow from OFA's published classes: see SuperServe (NSDI 2025), section 3.1,
// on how small normalisation statistics are.
func TestSizeOfResNet50D(t *testing.T) {
	s := find(t, "ofa-resnet50d", 1000, 3)
	for _, c := range []struct {
		arch, params string
		norm         int
	}{
		{"d1-4-4-6-4_e35_w100", "48.1", 33568},
		{"d1-4-4-6-4_e25_w100", "30.1", 30080},
	} {
		g := lower(t, s, c.arch)
		if p := millions(g.Params(), 1); p != c.params || normFeatures(g) != c.norm {
			t.Errorf("%s: %s M parameters, %d normalised channels, want %s and %d", c.arch, p, normFeatures(g), c.params, c.norm)
		}
	}
	if g := lower(t, s, "d1-4-4-6-4_e35_w65-80-65-80-100-100"); g.Values[1].C != 24 || g.Values[4].C != 48 {
		t.Errorf("stem has %d and %d channels, want 24 and 48", g.Values[1].C, g.Values[4].C)
	}
}

// Multiply-accumulates and parameters of the small spaces, counted by hand layer by layer.
func TestSizesOfSmallSpaces(t *testing.T) {
	for _, c := range []struct {
		space, arch  string
		macs, params int
	}{
		{"resnet-28", "d2_e100_w100", 12_245_952, 390_858},
		{"resnet-28", "d1_e50_w100", 3_205_632, 91_658},
		{"resnet-28", "d1_e25_w34", 449_536, 7_730},
		{"resnet-28s", "d2_e100_w100", 5_672_832, 175_258},
		{"resnet-28s", "d1_e50_w100", 1_454_208, 41_066},
		{"resnet-28s", "d1_e25_w50", 449_536, 7_730},
	} {
		g := lower(t, find(t, c.space, 10, 1), c.arch)
		if g.MACs() != c.macs || g.Params() != c.params {
			t.Errorf("%s %s: %d MACs, %d parameters, want %d and %d", c.space, c.arch, g.MACs(), g.Params(), c.macs, c.params)
		}
	}
	s := find(t, "resnet-32", 10, 3)
	most, least := s.lower(s.Max()).MACs(), s.lower(s.Min()).MACs()
	if most < 50e6 || most > 80e6 || least*4 > most {
		t.Errorf("resnet-32 spans %d to %d MACs", least, most)
	}
}

func TestChannelCounts(t *testing.T) {
	for v, want := range map[float64]int{0.1: 8, 8: 8, 8.9: 16, 11: 16, 12: 16, 18: 24, 19.9: 24, 20: 24, 25: 24, 41.6: 40, 51.2: 48, 1331.2: 1328} {
		if got := MakeDivisible(v); got != want {
			t.Errorf("MakeDivisible(%v) = %d, want %d", v, got, want)
		}
	}
	for _, name := range Names() {
		for i, l := range find(t, name, 16, 3).Layers() {
			if l.Out%8 != 0 || l.Hidden%8 != 0 || i > 0 && l.In%8 != 0 {
				t.Errorf("%s: layer %+v has channels that are not multiples of 8", name, l)
			}
		}
	}
}

func TestLayersOfASmallResNet(t *testing.T) {
	var got []string
	for _, l := range find(t, "resnet-28", 10, 1).Layers() {
		got = append(got, fmt.Sprintf("%s %s %d>%d k%d norm=%v", l.Name, l.Kind, l.In, l.Out, l.K, l.Norm))
	}
	want := []string{
		"stem conv 1>16 k3 norm=true",
		"s1.b0.down conv 16>24 k1 norm=true", "s1.b0.conv1 conv 16>24 k3 norm=true", "s1.b0.conv2 conv 24>24 k3 norm=true",
		"s1.b1.conv1 conv 24>24 k3 norm=true", "s1.b1.conv2 conv 24>24 k3 norm=true",
		"s2.b0.down conv 24>48 k1 norm=true", "s2.b0.conv1 conv 24>48 k3 norm=true", "s2.b0.conv2 conv 48>48 k3 norm=true",
		"s2.b1.conv1 conv 48>48 k3 norm=true", "s2.b1.conv2 conv 48>48 k3 norm=true",
		"s3.b0.down conv 48>96 k1 norm=true", "s3.b0.conv1 conv 48>96 k3 norm=true", "s3.b0.conv2 conv 96>96 k3 norm=true",
		"s3.b1.conv1 conv 96>96 k3 norm=true", "s3.b1.conv2 conv 96>96 k3 norm=true",
		"fc fc 96>10 k0 norm=false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

// The names of layers are what bundles store weights under.
func TestLayerNamesAreUnique(t *testing.T) {
	for _, name := range Names() {
		seen := map[string]bool{}
		for _, l := range find(t, name, 10, 3).Layers() {
			if seen[l.Name] {
				t.Errorf("%s: two layers are called %s", name, l.Name)
			}
			seen[l.Name] = true
		}
	}
}

func TestElasticKernelsNeedMatrices(t *testing.T) {
	for name, want := range map[string][]int{"ofa-mbv3": nil, "ofa-mbv3-k357": {5, 3}, "mbv3-28-k35": {3}} {
		for _, l := range find(t, name, 10, 3).Layers() {
			if strings.HasSuffix(l.Name, ".dw") && l.Name != "stem.dw" && !slices.Equal(l.Kernels, want) {
				t.Errorf("%s: %s has kernels %v below %d, want %v", name, l.Name, l.Kernels, l.K, want)
			}
		}
	}
}

func TestFindListsNames(t *testing.T) {
	_, err := Find("resnet-29", 10, 1)
	if err == nil || !strings.Contains(err.Error(), "resnet-28, resnet-28s, resnet-32") {
		t.Errorf("error %v does not list the names", err)
	}
}

func TestSpaceSurvivesJSON(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	spaces := []*Space{custom()}
	for _, name := range Names() {
		spaces = append(spaces, find(t, name, 7, 1))
	}
	for _, s := range spaces {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		a := s.Sample(rng, Sampling{ElasticKernel: true})
		if diff := cmp.Diff(s.lower(a), back.lower(a)); diff != "" {
			t.Errorf("%s %s after JSON:\n%s", s.Name, s.Format(a), diff)
		}
		if _, err := Decode(append(data, "{}"...)); err == nil {
			t.Errorf("%s: JSON with a second value was accepted", s.Name)
		}
	}
	if _, err := Decode([]byte(`{"name":"x","colour":3}`)); err == nil {
		t.Error("an unknown field was accepted")
	}
}

// custom is a space that no name stands for: MobileNetV3 with elastic width and a stage that
// does not halve the resolution.
func custom() *Space {
	return &Space{
		Name: "custom", Family: MBV3, Input: tensor.Shape{H: 20, W: 12, C: 2}, Classes: 3,
		Stem: Stem{Width: 16, Stride: 1, Block: 24},
		Head: Head{Width: 64, Mix: 96},
		Stages: []Stage{
			{Width: 24, Stride: 1, Depths: []int{1, 3}},
			{Width: 56, Stride: 2, Depths: []int{2}, SE: true, HSwish: true},
		},
		Expansions: []float64{1.5, 2},
		Kernels:    []int{3, 7},
		Widths:     []float64{0.3, 0.75, 1},
	}
}

func TestValidate(t *testing.T) {
	if err := custom().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Space){
		"family":              func(s *Space) { s.Family = "vgg" },
		"input is":            func(s *Space) { s.Input.H = 0 },
		"classes":             func(s *Space) { s.Classes = 0 },
		"channels":            func(s *Space) { s.Input.C = -1 },
		"0 stages":            func(s *Space) { s.Stages = nil },
		"stem block":          func(s *Space) { s.Stem.Block = -8 },
		"head width":          func(s *Space) { s.Head.Width = 1 << 20 },
		"a head":              func(s *Space) { s.Family = Basic },
		"kernels":             func(s *Space) { s.Kernels = []int{3, 4} },
		"expansions":          func(s *Space) { s.Expansions = []float64{2, 1} },
		"widths":              func(s *Space) { s.Widths = []float64{1.0 / 3} },
		"depths":              func(s *Space) { s.Stages[0].Depths = []int{0, 1} },
		"blocks":              func(s *Space) { s.Stages[0].Depths = []int{24} },
		"stride is 3":         func(s *Space) { s.Stages[1].Stride = 3 },
		"alone":               func(s *Space) { s.Family, s.Stem.Block, s.Head = Bottleneck, 0, Head{}; s.Kernels = []int{3, 5} },
		"list of 256 choices": func(s *Space) { s.Expansions = hundredthsUpTo(256) },
		"list of 300 choices": func(s *Space) { s.Widths = hundredthsUpTo(300) },
		"more than 536870912 weights": func(s *Space) {
			s.Stages[0].Width, s.Widths, s.Expansions = maxChannels, []float64{16}, []float64{16}
		},
		"must have at most 67108864 values": func(s *Space) { s.Input.H, s.Input.W, s.Stages[0].Width = 512, 1024, 512 },
		// A 2x2 mean and a 3x3 convolution with stride 2 disagree on an odd size.
		"fit the strides": func(s *Space) {
			s.Family, s.Stem.Block, s.Head, s.Kernels, s.Input.H = Bottleneck, 0, Head{}, []int{3}, 14
		},
	} {
		s := custom()
		spoil(s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not mention %q", err, want)
		}
	}
}

// hundredthsUpTo lists 0.01 to so many hundredths.
func hundredthsUpTo(n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = float64(i+1) / 100
	}
	return all
}

// As many choices as are allowed have a largest subnet that is one.
func TestManyChoices(t *testing.T) {
	s := custom()
	s.Expansions, s.Widths = hundredthsUpTo(255), hundredthsUpTo(255)
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	g, err := s.Lower(s.Max())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Check(); err != nil || g.Params() == 0 {
		t.Error(err)
	}
}

// TestAt: a space at another resolution keeps its layers and its Archs and leaves the original alone.
func TestAt(t *testing.T) {
	for _, name := range Names() {
		s := find(t, name, 10, 3)
		was := s.Input
		for _, pixels := range []int{32, 96, 224} {
			c, err := s.At(pixels)
			if err != nil {
				t.Fatal(err)
			}
			if c.Input.H != pixels || c.Input.W != pixels || c.Input.C != 3 || s.Input != was {
				t.Errorf("%s at %d pixels has inputs of %v; the space itself %v", name, pixels, c.Input, s.Input)
			}
			if !cmp.Equal(c.Layers(), s.Layers()) || c.Format(c.Min()) != s.Format(s.Min()) {
				t.Errorf("%s at %d pixels has other layers", name, pixels)
			}
		}
		if _, err := s.At(0); err == nil {
			t.Errorf("%s at 0 pixels is no error", name)
		}
	}
}

// A description takes classes and channels from the data, and the sides of images where it has none; weights and subnets are
// then those of the space it was made from.
func TestDefine(t *testing.T) {
	images := tensor.Shape{H: 28, W: 28, C: 1}
	of := find(t, "resnet-28s", 10, 1)
	b, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Define(b, 10, images); err == nil || !strings.Contains(err.Error(), "a name of its own") {
		t.Errorf("the name of another space: %v", err)
	}
	text := strings.NewReplacer(`"name":"resnet-28s"`, `"name":"mine"`, `"input":{"H":28,"W":28,"C":1},`, "", `"classes":10,`, "").Replace(string(b))
	s, err := Define([]byte(text), 7, images)
	if err != nil {
		t.Fatal(err)
	}
	if s.Input != images || s.Classes != 7 || s.Size().Cmp(of.Size()) != 0 {
		t.Errorf("%+v", s)
	}
	small, large := lower(t, of, of.Format(of.Max())), lower(t, s, s.Format(s.Max()))
	if small.MACs()-large.MACs() != 3*64 { // three classes fewer
		t.Errorf("%d and %d multiply-accumulates", small.MACs(), large.MACs())
	}
	sides, err := Define([]byte(strings.Replace(text, `"family"`, `"input":{"H":32,"W":32,"C":9},"family"`, 1)), 7, images)
	if err != nil || sides.Input != (tensor.Shape{H: 32, W: 32, C: 1}) {
		t.Errorf("%+v, %v", sides, err)
	}
	for _, bad := range []string{"", "{", text + "{}", strings.Replace(text, `"basic"`, `"fixed"`, 1), strings.Replace(text, `"mine"`, `""`, 1)} {
		if _, err := Define([]byte(bad), 7, images); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
