package pytorch

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// module names the tensors of one layer: what stands before ".weight", ".bias",
// ".running_mean" and ".running_var". A layer without a module is not in the checkpoint.
type module struct {
	main   string // convolution or fully connected layer, squeeze-and-excite's first
	second string // squeeze-and-excite's second
	norm   string
}

// running are the statistics of one layer at its maximum size.
type running = supernet.Stats

// loader takes tensors from a state dict and collects what is wrong.
type loader struct {
	state     *State
	used      map[string]bool
	values    int // taken so far
	missing   []string
	misshapen []string
	broken    []string
}

// load reads the weights and the running statistics of layers. It takes memory only for
// tensors that the file holds in the expected shapes.
func load(s *State, layers []nn.Layer, modules func(name string) module) (*nn.Weights, []running, error) {
	l := &loader{state: s, used: map[string]bool{}}
	stats := make([]running, len(layers))
	var stores []func(w *nn.Weights)
	for i := range layers {
		m := modules(layers[i].Name)
		if m == (module{}) {
			continue
		}
		stores = append(stores, l.layer(i, &layers[i], m)...)
		if layers[i].Norm {
			stats[i] = running{
				Mean: l.take(m.norm+".running_mean", layers[i].Out),
				Var:  l.take(m.norm+".running_var", layers[i].Out),
			}
			if slices.ContainsFunc(stats[i].Var, func(v float32) bool { return v < 0 }) {
				l.broken = append(l.broken, m.norm+".running_var holds negative values")
			}
		}
	}
	if err := l.err(); err != nil {
		return nil, nil, err
	}
	w := nn.NewWeights(layers)
	for _, store := range stores {
		store(w)
	}
	return w, stats, nil
}

// layer reads the parameters of layer i and returns what stores them.
func (l *loader) layer(i int, layer *nn.Layer, m module) []func(w *nn.Weights) {
	var stores []func(w *nn.Weights)
	set := func(r nn.Role, vals []float32) {
		stores = append(stores, func(w *nn.Weights) { w.SetCanonical(w.Data, w.Find(i, r), vals) })
	}
	in, out, k := layer.In, layer.Out, layer.K
	switch layer.Kind {
	case nn.Conv:
		set(nn.Weight, channelsLast(l.take(m.main+".weight", out, in, k, k), in, k*k))
	case nn.Depthwise:
		set(nn.Weight, l.take(m.main+".weight", out, 1, k, k))
		from := k
		for j, to := range layer.Kernels {
			vals := rings(l.take(fmt.Sprintf("%s.%dto%d_matrix", m.main, from, to), to*to, to*to), to)
			stores = append(stores, func(w *nn.Weights) { w.SetCanonical(w.Data, w.Find(i, nn.Transform)+j, vals) })
			from = to
		}
	case nn.FC:
		set(nn.Weight, l.take(m.main+".weight", out, in))
		set(nn.Bias, l.take(m.main+".bias", out))
	case nn.SE:
		set(nn.Weight, l.take(m.main+".weight", layer.Hidden, in, 1, 1))
		set(nn.Bias, l.take(m.main+".bias", layer.Hidden))
		set(nn.Weight2, l.take(m.second+".weight", in, layer.Hidden, 1, 1))
		set(nn.Bias2, l.take(m.second+".bias", in))
	}
	if layer.Norm {
		set(nn.Gamma, l.take(m.norm+".weight", out))
		set(nn.Beta, l.take(m.norm+".bias", out))
	}
	return stores
}

// take returns the values of a tensor, or nil after noting why there are none.
func (l *loader) take(name string, shape ...int) []float32 {
	t := l.state.Tensors[name]
	if t == nil {
		l.missing = append(l.missing, name)
		return nil
	}
	l.used[name] = true
	if !slices.Equal(t.Shape, shape) {
		l.misshapen = append(l.misshapen, fmt.Sprintf("%s is %v, not %v", name, t.Shape, shape))
		return nil
	}
	if l.values += t.Len(); l.values > l.state.size {
		l.broken = append(l.broken, name+" shares its values with too many others")
		return nil
	}
	vals, err := t.Floats()
	if err != nil {
		l.broken = append(l.broken, name+" "+err.Error())
	}
	return vals
}

// err returns what is wrong with the tensors taken, and which nobody asked for.
func (l *loader) err() error {
	var extra []string
	for _, n := range l.state.Names {
		if !l.used[n] && !strings.HasSuffix(n, ".num_batches_tracked") {
			extra = append(extra, n)
		}
	}
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"missing: ", l.missing}, {"of another shape: ", l.misshapen}, {"damaged: ", l.broken}, {"not understood: ", extra}} {
		if len(p.names) > 0 {
			parts = append(parts, p.what+abridge(p.names))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return errors.New("tensors do not fit: " + strings.Join(parts, "; "))
}

// channelsLast turns [out][in][tap] into [out][tap][in].
func channelsLast(v []float32, in, taps int) []float32 {
	out := make([]float32, len(v))
	for j := range v {
		o, i, t := j/(in*taps), j/taps%in, j%taps
		out[(o*taps+t)*in+i] = v[j]
	}
	return out
}

// rings turns a matrix over the raster taps of a kernel into one over its rings.
func rings(v []float32, k int) []float32 {
	taps := kernel.Rings(k)
	raster := func(i int) int { return (taps[i].DY+k/2)*k + taps[i].DX + k/2 }
	out := make([]float32, len(v))
	for j := range out {
		o, i := j/len(taps), j%len(taps)
		out[j] = v[raster(o)*len(taps)+raster(i)]
	}
	return out
}

// prefixNorms returns the statistics of subnets, a prefix of each layer's: what PyTorch
// computes with when a subnet is cut out and not recalibrated.
func prefixNorms(space *supernet.Space, archs []supernet.Arch, stats []running) (supernet.Norms, error) {
	norms := supernet.Norms{}
	for _, a := range archs {
		g, err := space.Lower(a)
		if err != nil {
			return nil, err
		}
		for i, key := range g.NormKeys() {
			if op := &g.Ops[i]; key != 0 {
				c, st := g.Values[op.Out].C, stats[op.Layer]
				norms[key] = supernet.Stats{Mean: st.Mean[:c:c], Var: st.Var[:c:c]}
			}
		}
	}
	return norms, nil
}
