package pytorch

import (
	"fmt"
	"slices"
	"strings"

	"weft/kernel"
	"weft/nn"
	"weft/supernet"
	"weft/tensor"
)

// cifarPixels is the height and width of CIFAR's images.
const cifarPixels = 32

// cifarResNet recognises a ResNet of basic blocks for CIFAR (He et al. 2016, section 4.2)
// by the names of akamaster/pytorch_resnet_cifar10: conv1 and bn1, layerS.B.conv1, bn1,
// conv2, bn2, and linear. Depth and widths follow from the tensors. Every stage but the
// first halves the resolution; the shortcut of its first block has no weights (the paper's
// option A) or a 1x1 convolution in shortcut.0 with normalisation in shortcut.1 (option B).
func cifarResNet(s *State) (*network, error) {
	if s.dim("conv1.weight", 2) != 3 || s.Tensors["layer1.0.conv2.weight"] == nil || s.Tensors["linear.weight"] == nil ||
		s.Tensors["layer1.0.conv3.weight"] != nil {
		return nil, nil
	}
	r := &resnet{state: s}
	r.add(supernet.Node{Kind: nn.Conv, Name: "conv1", K: 3, Stride: 1, Act: kernel.ReLU, Norm: true})
	blocks := 0
	for stage := 1; s.Tensors[fmt.Sprintf("layer%d.0.conv1.weight", stage)] != nil; stage++ {
		for b := 0; s.Tensors[fmt.Sprintf("layer%d.%d.conv1.weight", stage, b)] != nil; b++ {
			r.block(fmt.Sprintf("layer%d.%d.", stage, b), 1+min(stage-1, 1)*max(1-b, 0))
			blocks++
		}
	}
	r.nodes = append(r.nodes,
		supernet.Node{Kind: nn.GlobalPool, In: len(r.nodes), Out: r.width},
		supernet.Node{Kind: nn.FC, Name: "linear", In: len(r.nodes) + 1, Out: s.dim("linear.weight", 0)})
	if r.odd != "" {
		return nil, fmt.Errorf("%s has a number of outputs that is not a multiple of 8, which weft's kernels need", r.odd)
	}
	in := tensor.Shape{H: cifarPixels, W: cifarPixels, C: s.dim("conv1.weight", 1)}
	space, err := supernet.NewFixed(fmt.Sprintf("resnet%d", 2*blocks+2), in, r.nodes)
	if err != nil {
		return nil, err
	}
	return &network{state: s, space: space, modules: r.module, fill: r.fill}, nil
}

// resnet builds the nodes of a ResNet.
type resnet struct {
	state *State
	nodes []supernet.Node
	width int      // channels of the last convolution
	pads  []string // shortcuts without weights
	odd   string   // a layer of unsupported width
}

// add appends a convolution, by default with the outputs that its tensor has, and returns
// its value.
func (r *resnet) add(n supernet.Node) int {
	if n.Out == 0 {
		n.Out = r.state.dim(n.Name+".weight", 0)
		if n.Out%8 != 0 && r.odd == "" {
			r.odd = n.Name
		}
	}
	r.nodes, r.width = append(r.nodes, n), n.Out
	return len(r.nodes)
}

// block appends two 3x3 convolutions around a shortcut.
func (r *resnet) block(prefix string, stride int) {
	in, width := len(r.nodes), r.width
	res := in
	out := r.state.dim(prefix+"conv2.weight", 0)
	shortcut := supernet.Node{Kind: nn.Conv, Name: prefix + "shortcut", In: in, Out: out, K: 1, Stride: stride}
	switch {
	case r.state.Tensors[prefix+"shortcut.0.weight"] != nil:
		shortcut.Norm = true
		res = r.add(shortcut)
	case stride > 1 || out != width:
		r.pads = append(r.pads, shortcut.Name)
		res = r.add(shortcut)
	}
	mid := r.add(supernet.Node{Kind: nn.Conv, Name: prefix + "conv1", In: in, K: 3, Stride: stride, Act: kernel.ReLU, Norm: true})
	r.add(supernet.Node{Kind: nn.Conv, Name: prefix + "conv2", In: mid, Res: res, K: 3, Stride: 1, Act: kernel.ReLU, Norm: true})
}

func (r *resnet) module(layer string) module {
	switch {
	case slices.Contains(r.pads, layer):
		return module{}
	case strings.HasSuffix(layer, "shortcut"):
		return module{main: layer + ".0", norm: layer + ".1"}
	case layer == "linear":
		return module{main: layer}
	}
	i := strings.LastIndex(layer, "conv")
	return module{main: layer, norm: layer[:i] + "bn" + layer[i+len("conv"):]}
}

// fill sets the shortcuts without weights. They take every second pixel and add as many
// channels of zeros before as after theirs: a 1x1 convolution by a shifted identity.
func (r *resnet) fill(w *nn.Weights) {
	for i := range w.Layers {
		l := &w.Layers[i]
		if !slices.Contains(r.pads, l.Name) {
			continue
		}
		vals := make([]float32, l.Out*l.In)
		for c := range l.In {
			if o := c + (l.Out-l.In)/2; o >= 0 && o < l.Out {
				vals[o*l.In+c] = 1
			}
		}
		w.SetCanonical(w.Data, w.Find(i, nn.Weight), vals)
	}
}
