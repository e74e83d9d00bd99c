package supernet

import (
	"unsafe"

	"weft/kernel"
	"weft/nn"
)

// Table holds what the plans of a supernet share: folded normalisations, geometries,
// transformed weights and the descriptions of operations. It is not safe for concurrent
// use; the plans that it makes are, and do not need it any more.
type Table struct {
	net     *Supernet
	norms   Norms
	options Options
	folded  map[nn.NormKey]*norm
	bases   map[kernelKey]*kernel.Base // first normalisation of a layer with so many channels
	windows kernel.Windows
	kernels map[kernelKey][]float32 // smaller depthwise kernels, one copy a supernet
	wino    map[kernelKey][]float32 // weights transformed for tiles of k by k outputs
	ops     map[opKey]*op
	plans   int // bytes of all plans made
}

// kernelKey is a layer with one of its sizes: of a kernel or of tiles, or channels.
type kernelKey struct{ layer, k int }

// Options say how plans compute and what they hold.
type Options struct {
	// Tuning says which layers are computed by Winograd's algorithm.
	Tuning Tuning
	// Compact keeps folded normalisations in 8 bits a value, as differences from the first
	// one of the layer with as many channels (kernel.Near), and those that differ too much
	// in half precision (kernel.Half). They are widened layer by layer. Logits then differ
	// in about the third digit.
	Compact bool
}

// nearEnough is the largest error of a compact normalisation: of a scale relative to it, of
// a shift relative to γ, which is the standard deviation of what comes out.
const nearEnough = 1.0 / 128

// NewTable returns an empty table over the statistics of a supernet, tuned by rule.
func NewTable(net *Supernet, norms Norms) *Table {
	return NewTableWith(net, norms, Options{Tuning: net.Rule(net.WinogradBytes())})
}

// NewTableWith returns an empty table with options of its own.
func NewTableWith(net *Supernet, norms Norms, options Options) *Table {
	return &Table{
		net: net, norms: norms, options: options, folded: map[nn.NormKey]*norm{},
		bases: map[kernelKey]*kernel.Base{}, kernels: map[kernelKey][]float32{}, wino: map[kernelKey][]float32{}, ops: map[opKey]*op{},
	}
}

// Memory is what the plans of a table hold, in bytes.
type Memory struct {
	Weights  int `json:"weights"`  // of the supernet
	Winograd int `json:"winograd"` // transformed weights
	Kernels  int `json:"kernels"`  // smaller depthwise kernels
	Norms    int `json:"norms"`    // folded normalisations
	Windows  int `json:"windows"`  // tables of indices
	Ops      int `json:"ops"`      // descriptions of operations
	Plans    int `json:"plans"`
}

// NormBytes returns what the folded normalisations of so many subnets take in full
// precision; those that subnets share count once.
func (s *Space) NormBytes(archs []Arch) (int, error) {
	seen := map[nn.NormKey]bool{0: true}
	bytes := 0
	for _, a := range archs {
		g, err := s.Lower(a)
		if err != nil {
			return 0, err
		}
		for i, k := range g.NormKeys() {
			if !seen[k] {
				seen[k] = true
				bytes += 2 * 4 * g.Values[g.Ops[i].Out].C
			}
		}
	}
	return bytes, nil
}

// Total is the sum of all parts.
func (m Memory) Total() int {
	return m.Weights + m.Winograd + m.Kernels + m.Norms + m.Windows + m.Ops + m.Plans
}

// Memory returns what the plans made so far hold. The statistics that normalisations were
// folded from are not among it: plans need them no more.
func (t *Table) Memory() Memory {
	m := Memory{Weights: 4 * len(t.net.W.Data), Windows: t.windows.Bytes(), Plans: t.plans}
	for _, u := range t.wino {
		m.Winograd += 4 * len(u)
	}
	for k, v := range t.kernels {
		if k.k < t.net.W.Layers[k.layer].K { // the largest is the weights themselves
			m.Kernels += 4 * len(v)
		}
	}
	for _, n := range t.folded {
		m.Norms += n.bytes()
	}
	for _, b := range t.bases {
		m.Norms += b.Bytes()
	}
	for _, o := range t.ops {
		m.Ops += o.bytes()
	}
	return m
}

// Bytes returns the memory that the plans of this table share: the weights, and all else.
func (t *Table) Bytes() (weights, tables int) {
	m := t.Memory()
	return m.Weights, m.Total() - m.Weights
}

// norm is a folded normalisation in one of three forms.
type norm struct {
	whole *Affine
	half  *[2]kernel.Half // scale and shift
	near  *kernel.Near
}

// affine returns the normalisation, widened into buf if need be.
func (n *norm) affine(buf []float32) (scale, shift []float32) {
	switch {
	case n == nil:
		return nil, nil
	case n.near != nil:
		c := n.near.Len()
		n.near.Widen(buf)
		return buf[:c], buf[c : 2*c]
	case n.half != nil:
		c := n.half[0].Len()
		scale, shift = buf[:c], buf[c:2*c]
		n.half[0].Widen(scale)
		n.half[1].Widen(shift)
		return scale, shift
	default:
		return n.whole.Scale, n.whole.Shift
	}
}

// buffer returns how many floats affine needs.
func (n *norm) buffer() int {
	switch {
	case n.near != nil:
		return 2 * n.near.Len()
	case n.half != nil:
		return 2 * n.half[0].Len()
	default:
		return 0
	}
}

func (n *norm) bytes() int {
	b := int(unsafe.Sizeof(*n))
	switch {
	case n.near != nil:
		return b + int(unsafe.Sizeof(*n.near)) + n.near.Bytes()
	case n.half != nil:
		return b + int(unsafe.Sizeof(*n.half)) + n.half[0].Bytes() + n.half[1].Bytes()
	default:
		return b + int(unsafe.Sizeof(*n.whole)) + 4*(cap(n.whole.Scale)+cap(n.whole.Shift))
	}
}

// norm returns the folded normalisation of a layer for a key, nil without statistics.
func (t *Table) norm(layer int, key nn.NormKey) *norm {
	if n := t.folded[key]; n != nil {
		return n
	}
	st, ok := t.norms[key]
	if !ok {
		return nil
	}
	a := t.net.fold(layer, st)
	n := &norm{whole: &a}
	if t.options.Compact && finite(a.Scale) && finite(a.Shift) {
		n = t.compact(layer, a)
	}
	t.folded[key] = n
	return n
}

// compact returns a normalisation of finite values in as few bits as will do.
func (t *Table) compact(layer int, a Affine) *norm {
	key := kernelKey{layer, len(a.Scale)}
	if t.bases[key] == nil {
		t.bases[key] = kernel.NewBase(a.Scale, a.Shift, t.net.W.Of(t.net.W.Data, layer, nn.Gamma))
	}
	if n, worst := kernel.NewNear(t.bases[key], a.Scale, a.Shift); worst <= nearEnough {
		return &norm{near: &n}
	}
	return &norm{half: &[2]kernel.Half{kernel.NewHalf(a.Scale), kernel.NewHalf(a.Shift)}}
}

func finite(v []float32) bool {
	for _, x := range v {
		if x-x != 0 {
			return false
		}
	}
	return true
}

// kernel returns the taps of a depthwise layer's kernel of size k.
func (t *Table) kernel(layer, k int) []float32 {
	key := kernelKey{layer, k}
	if t.kernels[key] == nil {
		t.kernels[key] = t.net.W.DeriveKernel(layer, k)
	}
	return t.kernels[key]
}
