package pytorch

import (
	"fmt"
	"slices"
	"strconv"

	"weft/bundle"
	"weft/nn"
	"weft/supernet"
)

// network is a recognised state dict: the space that it has weights for and where they are.
type network struct {
	state   *State
	space   *supernet.Space
	modules func(layer string) module
	fill    func(w *nn.Weights) // sets layers without tensors; may be nil
}

// imagenetMean and imagenetStd normalise the images of all networks that are recognised,
// those for CIFAR-10 too.
var (
	imagenetMean = []float32{0.485, 0.456, 0.406}
	imagenetStd  = []float32{0.229, 0.224, 0.225}
)

// Options change how a state dict is imported.
type Options struct {
	Name      string    // of the model
	Mean, Std []float32 // of pixel/255, one for all channels or one for each; nil for ImageNet's
	Pixels    int       // height and width of the images; 0 for what the network was made for
	Subnets   []string  // architectures to list beside the usual ones, as Space.Parse reads them
}

// Import turns a state dict into a bundle. A supernet's lists the subnets that have the
// same choices everywhere, the smallest and the largest, by rising MACs; a network that is
// no supernet is the only one. Normalisation uses the running statistics of the checkpoint,
// for a subnet the first of each layer: recalibrate subnets on training images to get their
// accuracy. Accuracies are 0, unknown.
func Import(s *State, o Options) (*bundle.Bundle, error) {
	n, err := recognise(s)
	if err != nil {
		return nil, err
	}
	if o.Pixels != 0 {
		if n.space, err = n.space.At(o.Pixels); err != nil {
			return nil, err
		}
	}
	mean, err := channels(o.Mean, imagenetMean, n.space.Input.C)
	if err != nil {
		return nil, fmt.Errorf("mean: %w", err)
	}
	std, err := channels(o.Std, imagenetStd, n.space.Input.C)
	if err != nil {
		return nil, fmt.Errorf("deviation: %w", err)
	}
	w, stats, err := load(n.state, n.space.Layers(), n.modules)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.space.Name, err)
	}
	if n.fill != nil {
		n.fill(w)
	}
	b := &bundle.Bundle{Net: &supernet.Supernet{Space: n.space, W: w, Mean: mean, Std: std}}
	b.Name = o.Name
	archs, err := listed(n.space, o.Subnets)
	if err != nil {
		return nil, err
	}
	for _, a := range archs {
		g, err := n.space.Lower(a)
		if err != nil {
			return nil, err
		}
		b.Subnets = append(b.Subnets, bundle.Subnet{Arch: n.space.Format(a), MACs: g.MACs(), Params: g.Params()})
	}
	for c := range n.space.Classes {
		b.ClassNames = append(b.ClassNames, strconv.Itoa(c))
	}
	b.Norms, err = prefixNorms(n.space, archs, stats)
	return b, err
}

// channels returns a value for each of n channels: those given, or the default.
func channels(given, def []float32, n int) ([]float32, error) {
	switch v := given; {
	case len(v) == 0 && len(def) == n:
		return slices.Clone(def), nil
	case len(v) == 1:
		return slices.Repeat(v, n), nil
	case len(v) == n:
		return v, nil
	default:
		return nil, fmt.Errorf("%d values for images of %d channels: give one, or one for each", len(v), n)
	}
}

// recognise finds out which network a state dict is of.
func recognise(s *State) (*network, error) {
	for _, as := range []func(*State) (*network, error){cifarResNet, ofa} {
		if n, err := as(s); n != nil || err != nil {
			return n, err
		}
	}
	return nil, fmt.Errorf("the checkpoint is of no network that is known: CIFAR's ResNets (conv1, layer1.0.conv1, linear), "+
		"OFA's MobileNetV3 (first_conv, blocks.1.conv.inverted_bottleneck) and ResNet50D (input_stem.0, blocks.0.conv3); its tensors are %s", abridge(s.Names))
}

// listed returns the subnets that an imported bundle names, by rising MACs.
func listed(space *supernet.Space, more []string) ([]supernet.Arch, error) {
	archs := space.Uniform()
	others := []supernet.Arch{space.Min(), space.Max()}
	for _, text := range more {
		a, err := space.Parse(text)
		if err != nil {
			return nil, err
		}
		others = append(others, a)
	}
	for _, a := range others {
		if !slices.Contains(archs, a) {
			archs = append(archs, a)
		}
	}
	macs := map[supernet.Arch]int{}
	for _, a := range archs {
		g, err := space.Lower(a)
		if err != nil {
			return nil, err
		}
		macs[a] = g.MACs()
	}
	slices.SortStableFunc(archs, func(a, b supernet.Arch) int { return macs[a] - macs[b] })
	return archs, nil
}
