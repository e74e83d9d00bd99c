package pytorch

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"weft/bundle"
	"weft/nn"
	"weft/supernet"
)

// set puts a tensor of float32 values into a state dict.
func (s *State) set(name string, vals []float32, shape ...int) {
	st := &storage{dtype: dtypes["FloatStorage"], len: int64(len(vals)), data: make([]byte, 4*len(vals))}
	for i, v := range vals {
		binary.LittleEndian.PutUint32(st.data[4*i:], math.Float32bits(v))
	}
	t := &Tensor{Shape: shape, strides: make([]int64, len(shape)), storage: st}
	n := int64(1)
	for i, d := range slices.Backward(shape) {
		t.strides[i] = n
		n *= int64(d)
	}
	if s.Tensors[name] == nil {
		s.Names = append(s.Names, name)
	}
	s.Tensors[name] = t
	s.size += len(st.data)
}

// zeros puts a tensor of zeros into a state dict.
func (s *State) zeros(name string, shape ...int) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	s.set(name, make([]float32, n), shape...)
}

// drop removes a tensor from a state dict.
func (s *State) drop(name string) {
	delete(s.Tensors, name)
	s.Names = slices.DeleteFunc(s.Names, func(n string) bool { return n == name })
}

// smallResNet is the state dict of a ResNet with one block of 8 channels.
func smallResNet() *State {
	s := &State{Tensors: map[string]*Tensor{}}
	for i, conv := range []string{"conv1", "layer1.0.conv1", "layer1.0.conv2"} {
		s.zeros(conv+".weight", 8, []int{3, 8, 8}[i], 3, 3)
		for _, stat := range []string{"weight", "bias", "running_mean", "running_var"} {
			s.zeros(strings.Replace(conv, "conv", "bn", 1)+"."+stat, 8)
		}
	}
	s.zeros("linear.weight", 10, 8)
	s.zeros("linear.bias", 10)
	return s
}

func TestImportErrors(t *testing.T) {
	nan := float32(math.NaN())
	tests := []struct {
		name   string
		change func(s *State)
		want   string
	}{
		{"as it is", func(*State) {}, ""},
		{"counters", func(s *State) { s.zeros("bn1.num_batches_tracked") }, ""},
		{"missing", func(s *State) { s.drop("layer1.0.bn2.bias") }, "resnet4: tensors do not fit: missing: layer1.0.bn2.bias"},
		{"misshapen", func(s *State) { s.zeros("layer1.0.conv1.weight", 8, 16, 3, 3) }, "of another shape: layer1.0.conv1.weight is [8 16 3 3], not [8 8 3 3]"},
		{"extra", func(s *State) { s.zeros("layer1.0.se.weight", 8); s.zeros("aux", 1) }, "not understood: layer1.0.se.weight, aux"},
		{"integers", func(s *State) {
			s.Tensors["linear.bias"].storage.dtype = dtypes["IntStorage"]
		}, "damaged: linear.bias holds int32 instead of floating-point values"},
		{"not a number", func(s *State) { s.set("bn1.bias", []float32{0, nan, 0, 0, 0, 0, 0, 0}, 8) }, "damaged: bn1.bias holds NaN"},
		{"negative variance", func(s *State) { s.set("bn1.running_var", []float32{-1, 0, 0, 0, 0, 0, 0, 0}, 8) }, "damaged: bn1.running_var holds negative values"},
		{"width", func(s *State) { s.zeros("layer1.0.conv2.weight", 12, 8, 3, 3) }, "layer1.0.conv2 has a number of outputs that is not a multiple of 8"},
		{"grey", func(s *State) { s.zeros("conv1.weight", 8, 1, 3, 3) }, "mean: 0 values for images of 1 channels: give one, or one for each"},
		{"shared", func(s *State) { s.size = 100 }, "shares its values with too many others"},
		{"several", func(s *State) {
			for i := range 9 {
				s.zeros(fmt.Sprint("x", i), 1)
			}
			s.drop("linear.bias")
		}, "missing: linear.bias; not understood: x0, x1, x2, x3, x4, x5 and 3 more"},
		{"bottlenecks", func(s *State) { s.zeros("layer1.0.conv3.weight", 8, 8, 1, 1) }, "of no network that is known: CIFAR's ResNets"},
	}
	for _, tt := range tests {
		s := smallResNet()
		tt.change(s)
		_, err := Import(s, Options{})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	tensor := smallResNet().Tensors["linear.bias"]
	state := func(names ...string) *dict {
		d := &dict{}
		for _, n := range names {
			d.set(n, tensor)
		}
		return d
	}
	wrapped := func(key string, v any) *dict { return &dict{[]any{"best", key}, []any{tensor, v}} }
	for _, root := range []*dict{
		state("a", "b"), state("module.a", "module.b"), wrapped("state_dict", state("a", "b")), wrapped("model", state("module.a", "module.b")),
	} {
		s, err := find(root)
		if err != nil || !slices.Equal(s.Names, []string{"a", "b"}) {
			t.Errorf("%v, %v", s, err)
		}
	}
	if s, err := find(state("module.a", "b")); err != nil || !slices.Equal(s.Names, []string{"module.a", "b"}) {
		t.Errorf("%v, %v", s, err)
	}
	for want, root := range map[string]any{
		"holds a tensor instead of a dictionary":                                     tensor,
		"no tensors, neither at the top nor under state_dict, model, model_state_di": &dict{[]any{"epoch", "optimizer"}, []any{int64(1), &dict{}}},
		"its keys are epoch, optimizer":                                              &dict{[]any{"epoch", "optimizer"}, []any{int64(1), &dict{}}},
	} {
		if _, err := find(root); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A derived kernel is the matrix times the taps of the larger one's centre, both row by row,
// as OFA computes it.
func TestKernelMatrices(t *testing.T) {
	const c = 8
	rng := rand.New(rand.NewPCG(1, 1))
	draw := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	s := &State{Tensors: map[string]*Tensor{}, size: 1 << 20}
	cur := draw(c * 49)
	s.set("dw.weight", cur, c, 1, 7, 7)
	layers := []nn.Layer{{Name: "dw", Kind: nn.Depthwise, In: c, Out: c, K: 7, Kernels: []int{5, 3}}}
	want := map[int][]float32{} // k -> [channel][tap]
	for _, k := range []int{5, 3} {
		m, taps, next := draw(k*k*k*k), k*k, make([]float32, c*k*k)
		s.set(fmt.Sprintf("dw.%dto%d_matrix", k+2, k), m, taps, taps)
		for ch := range c {
			for o := range taps {
				for i := range taps {
					next[ch*taps+o] += m[o*taps+i] * cur[(ch*(k+2)+i/k+1)*(k+2)+i%k+1]
				}
			}
		}
		want[k], cur = next, next
	}
	w, _, err := load(s, layers, func(string) module { return module{main: "dw"} })
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range want {
		one := []nn.Layer{{Name: "dw", Kind: nn.Depthwise, In: c, Out: c, K: k}}
		alone := nn.NewWeights(one)
		copy(alone.Data, w.DeriveKernel(0, k)[:c*k*k])
		if diff := relative(alone.Canonical(alone.Data, 0), want); !(diff < 1e-5) {
			t.Errorf("kernel %d differs by %v", k, diff)
		}
	}
}

// ofaZeros is a state dict of zeros in OFA's shapes.
func ofaZeros(t *testing.T, space *supernet.Space, block func(prefix, layer string) string) *State {
	t.Helper()
	s := &State{Tensors: map[string]*Tensor{}}
	modules := ofaModules(space, block)
	for _, l := range space.Layers() {
		m := modules(l.Name)
		switch l.Kind {
		case nn.Conv:
			s.zeros(m.main+".weight", l.Out, l.In, l.K, l.K)
		case nn.Depthwise:
			s.zeros(m.main+".weight", l.Out, 1, l.K, l.K)
			for i, k := range l.Kernels {
				s.zeros(fmt.Sprintf("%s.%dto%d_matrix", m.main, append([]int{l.K}, l.Kernels...)[i], k), k*k, k*k)
			}
		case nn.SE:
			s.zeros(m.main+".weight", l.Hidden, l.In, 1, 1)
			s.zeros(m.main+".bias", l.Hidden)
			s.zeros(m.second+".weight", l.In, l.Hidden, 1, 1)
			s.zeros(m.second+".bias", l.In)
		case nn.FC:
			s.zeros(m.main+".weight", l.Out, l.In)
			s.zeros(m.main+".bias", l.Out)
		}
		for _, n := range []string{"weight", "bias", "running_mean", "running_var"} {
			if l.Norm {
				s.zeros(m.norm+"."+n, l.Out)
			}
		}
	}
	return s
}

// The names are OFA's own: a few of each space, spelled out.
func TestOFANames(t *testing.T) {
	for _, tt := range []struct {
		space string
		block func(prefix, layer string) string
		names []string
	}{
		{"ofa-mbv3-k357", invertedModule, []string{
			"first_conv.conv.weight", "blocks.0.conv.depth_conv.bn.weight", "blocks.1.mobile_inverted_conv.inverted_bottleneck.conv.conv.weight",
			"blocks.20.conv.point_linear.bn.bn.running_var", "blocks.5.conv.depth_conv.se.fc.reduce.weight", "blocks.6.conv.depth_conv.se.fc.expand.bias",
			"blocks.3.conv.depth_conv.conv.7to5_matrix", "blocks.3.conv.depth_conv.conv.5to3_matrix", "blocks.3.conv.depth_conv.conv.conv.weight",
			"final_expand_layer.bn.bias", "feature_mix_layer.conv.weight", "classifier.linear.bias",
		}},
		{"ofa-resnet50d", bottleneckModule, []string{
			"input_stem.0.conv.conv.weight", "input_stem.1.conv.conv.conv.weight", "input_stem.1.conv.bn.bn.running_mean", "input_stem.2.bn.bn.weight",
			"blocks.0.downsample.conv.conv.weight", "blocks.17.conv3.bn.bn.weight", "blocks.4.downsample.bn.bn.bias", "classifier.linear.linear.weight",
		}},
	} {
		space, err := supernet.Find(tt.space, 10, 3)
		if err != nil {
			t.Fatal(err)
		}
		s := ofaZeros(t, space, tt.block)
		for _, n := range tt.names {
			if s.Tensors[ofaName(n)] == nil {
				t.Errorf("%s: nothing is called %s", tt.space, n)
			}
		}
		n, err := recognise(s)
		if err != nil || n.space.Name != tt.space || n.space.Classes != 10 {
			t.Fatalf("%s: recognised as %v, %v", tt.space, n, err)
		}
		if _, _, err := load(n.state, n.space.Layers(), n.modules); err != nil {
			t.Errorf("%s: %v", tt.space, err)
		}
	}
}

func TestOFAErrors(t *testing.T) {
	space, err := supernet.Find("ofa-mbv3", 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	s := ofaZeros(t, space, invertedModule)
	if _, err := Import(s, Options{Subnets: []string{"d9"}}); err == nil || !strings.Contains(err.Error(), `architecture "d9"`) {
		t.Error(err)
	}
	b, err := Import(s, Options{Pixels: 128, Subnets: []string{"d2-2-2-2-3_e3"}})
	if err != nil || b.Net.Space.Input.H != 128 || len(b.Subnets) != 10 {
		t.Errorf("%d subnets of %v: %v", len(b.Subnets), b.Net.Space.Input, err)
	}
	if !slices.IsSortedFunc(b.Subnets, func(x, y bundle.Subnet) int { return x.MACs - y.MACs }) {
		t.Error("subnets are not ordered by MACs")
	}
	if _, err := Import(s, Options{Pixels: -1}); err == nil || !strings.Contains(err.Error(), "input is -1x-1") {
		t.Error(err)
	}
	s.zeros("first_conv.conv.weight", 32, 3, 3, 3)
	if _, err := Import(s, Options{}); err == nil || !strings.Contains(err.Error(), "32 channels in first_conv: only those of the widths [1 1.2] are known") {
		t.Error(err)
	}
}
