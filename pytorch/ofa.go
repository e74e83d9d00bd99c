package pytorch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weft/supernet"
)

// ofaWidths are the width multipliers of the MobileNetV3 supernets that OFA published.
var ofaWidths = []float64{1, 1.2}

// ofaName brings a tensor's name to one spelling. OFA renamed mobile_inverted_conv to conv,
// and its elastic layers wrap those of PyTorch under the same name (conv.conv, bn.bn,
// linear.linear) where its fixed ones do not.
func ofaName(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		if p == "mobile_inverted_conv" {
			parts[i] = "conv"
		}
	}
	return strings.Join(slices.Compact(parts), ".")
}

// ofa recognises a supernet of OFA by its tensors.
func ofa(s *State) (*network, error) {
	s = s.renamed(ofaName)
	classes := max(s.dim("classifier.linear.weight", 0), 1)
	var space *supernet.Space
	var err error
	block := invertedModule
	if c := s.dim("input_stem.0.conv.weight", 1); c > 0 && s.Tensors["blocks.0.conv3.conv.weight"] != nil {
		space, err = supernet.Find("ofa-resnet50d", classes, c)
		block = bottleneckModule
	} else if c := s.dim("first_conv.conv.weight", 1); c > 0 && s.Tensors["blocks.1.conv.inverted_bottleneck.conv.weight"] != nil {
		space, err = ofaMBV3(s, classes, c)
	} else {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &network{state: s, space: space, modules: ofaModules(space, block)}, nil
}

// ofaMBV3 returns the MobileNetV3 space with the kernels and the width of the tensors.
func ofaMBV3(s *State, classes, channels int) (*supernet.Space, error) {
	const depthwise = "blocks.1.conv.depth_conv.conv."
	k := s.dim(depthwise+"weight", 2)
	kernels := []int{k}
	for s.Tensors[fmt.Sprintf("%s%dto%d_matrix", depthwise, k, k-2)] != nil {
		k -= 2
		kernels = append([]int{k}, kernels...)
	}
	stem := s.dim("first_conv.conv.weight", 0)
	i := slices.IndexFunc(ofaWidths, func(w float64) bool { return supernet.MakeDivisible(16*w) == stem })
	if i < 0 {
		return nil, fmt.Errorf("OFA's MobileNetV3 with %d channels in first_conv: only those of the widths %v are known", stem, ofaWidths)
	}
	space, err := supernet.Find("ofa-mbv3", classes, channels)
	if err != nil {
		return nil, err
	}
	space.Widths, space.Kernels = ofaWidths[i:i+1], kernels
	if len(kernels) > 1 {
		space.Name += "-k"
		for _, k := range kernels {
			space.Name += strconv.Itoa(k)
		}
	}
	if i > 0 {
		space.Name += fmt.Sprintf("-w%g", ofaWidths[i])
	}
	return space, space.Validate()
}

// ofaModules returns where OFA keeps the layers of a space. Its blocks are numbered through
// all stages; block names the module of a layer of one of them, or outside them ("").
func ofaModules(space *supernet.Space, block func(prefix, layer string) string) func(string) module {
	return func(layer string) module {
		prefix := ""
		var stage, i int
		if n, _ := fmt.Sscanf(layer, "s%d.b%d.", &stage, &i); n == 2 {
			for m := range stage - 1 {
				i += slices.Max(space.Stages[m].Depths)
			}
			if space.Family == supernet.MBV3 {
				i++ // block 0 is the stem's
			}
			prefix = fmt.Sprintf("blocks.%d.", i)
			layer = layer[strings.LastIndex(layer, ".")+1:]
		}
		path := block(prefix, layer)
		switch layer {
		case "fc":
			return module{main: path}
		case "se":
			return module{main: path + ".fc.reduce", second: path + ".fc.expand"}
		}
		return module{main: ofaName(path + ".conv"), norm: path + ".bn"}
	}
}

func invertedModule(prefix, layer string) string {
	return map[string]string{
		"stem": "first_conv", "stem.dw": "blocks.0.conv.depth_conv", "stem.project": "blocks.0.conv.point_linear",
		"expand": prefix + "conv.inverted_bottleneck", "dw": prefix + "conv.depth_conv",
		"se": prefix + "conv.depth_conv.se", "project": prefix + "conv.point_linear",
		"head": "final_expand_layer", "mix": "feature_mix_layer", "fc": "classifier.linear",
	}[layer]
}

func bottleneckModule(prefix, layer string) string {
	return map[string]string{
		"stem.conv1": "input_stem.0", "stem.conv2": "input_stem.1.conv", "stem.conv3": "input_stem.2",
		"down": prefix + "downsample", "conv1": prefix + "conv1", "conv2": prefix + "conv2", "conv3": prefix + "conv3",
		"fc": "classifier.linear",
	}[layer]
}
