package supernet

import (
	"fmt"
	"slices"

	"weft/kernel"
	"weft/nn"
	"weft/quant"
)

// Ranges are those of the activations of subnets, for int8. Like statistics they depend on
// what comes before alone, so subnets share them by the key of the value that an operation
// writes (nn.Graph.ValueKeys). An operation has a range for each tensor that it quantises:
//
//   - a convolution without residual, with ReLU or nothing after it, a mean of all pixels
//     and a sum: the output;
//   - a convolution with a residual: the convolution, then the output;
//   - a convolution with h-swish or h-sigmoid: its input, then its output;
//   - squeeze-and-excite: the mean, the hidden channels, the input of the h-sigmoid, and
//     the output.
//
// Others have none.
type Ranges map[nn.NormKey][]quant.Range

// rangesOf names the tensors of an operation that have ranges: the activation that
// follows each, so that what it cuts off does not count.
func rangesOf(op *nn.Op) []kernel.Act {
	switch {
	case op.Kind == nn.SE:
		return []kernel.Act{kernel.Linear, kernel.ReLU, kernel.HSigmoid, kernel.Linear}
	case op.Kind == nn.GlobalPool:
		return []kernel.Act{kernel.Linear}
	case op.Kind == nn.Add:
		return []kernel.Act{op.Act}
	case op.Kind != nn.Conv && op.Kind != nn.Depthwise:
		return nil
	case op.Res >= 0:
		return []kernel.Act{kernel.Linear, op.Act}
	case op.Act == kernel.HSwish || op.Act == kernel.HSigmoid:
		return []kernel.Act{op.Act, kernel.Linear}
	default:
		return []kernel.Act{op.Act}
	}
}

// Check reports the first operation of a subnet whose ranges are missing.
func (r Ranges) Check(s *Space, a Arch) error {
	g, err := s.Lower(a)
	if err != nil {
		return err
	}
	keys := g.ValueKeys()
	for i := range g.Ops {
		if op := &g.Ops[i]; len(rangesOf(op)) != len(r[keys[op.Out]]) {
			return fmt.Errorf("subnet %s has no ranges of the activations of operation %d (%s) for int8", s.Format(a), i, op.Kind)
		}
	}
	return nil
}

// Add finds the ranges of a subnet that the table lacks: it runs the subnet in float32 with
// its statistics over batches of normalised training images and takes for each tensor the
// range that quantises it with the least squared error. It returns how many entries it
// added; none means that nothing was run.
func (r Ranges) Add(net *Supernet, norms Norms, a Arch, batches [][]float32, pool *kernel.Pool) (int, error) {
	g, err := net.Space.Lower(a)
	if err != nil {
		return 0, err
	}
	c := observer{net: net, norms: norms, g: g, pool: pool, keys: g.NormKeys(), seen: map[int][]*quant.Histogram{}}
	values := g.ValueKeys()
	for i := range g.Ops {
		if want := rangesOf(&g.Ops[i]); len(want) > 0 && r[values[g.Ops[i].Out]] == nil {
			for range want {
				c.seen[i] = append(c.seen[i], new(quant.Histogram))
			}
		}
	}
	if len(c.seen) == 0 {
		return 0, nil
	}
	if len(batches) == 0 {
		panic("supernet: no images to find ranges on")
	}
	for _, x := range batches {
		if err := c.run(x); err != nil {
			return 0, fmt.Errorf("subnet %s: %w", net.Space.Format(a), err)
		}
	}
	for i, hs := range c.seen {
		var rs []quant.Range
		for _, h := range hs {
			rs = append(rs, h.Range())
		}
		r[values[g.Ops[i].Out]] = rs
	}
	return len(c.seen), nil
}

// observer runs a graph in float32, one operation at a time, and counts values.
type observer struct {
	net     *Supernet
	norms   Norms
	g       *nn.Graph
	pool    *kernel.Pool
	keys    []nn.NormKey
	windows kernel.Windows
	seen    map[int][]*quant.Histogram
	vals    [][]float32
	n       int
}

// observe counts tensor k of operation i, as far as its activation lets values through.
func (c *observer) observe(i, k int, values []float32) {
	hs := c.seen[i]
	if hs == nil {
		return
	}
	act := rangesOf(&c.g.Ops[i])[k]
	if act == kernel.Linear {
		hs[k].Add(values)
		return
	}
	cut := make([]float32, len(values))
	for j, v := range values {
		cut[j] = quant.Range{Lo: v, Hi: v}.Before(act).Lo
	}
	hs[k].Add(cut)
}

// rowsTask spreads rows over a pool.
type rowsTask struct {
	run         func(lo, hi int)
	rows, chunk int
}

func (t *rowsTask) Do(i, _ int) { t.run(i*t.chunk, min(t.rows, (i+1)*t.chunk)) }

func (c *observer) rows(rows int, run func(lo, hi int)) {
	const chunk = 480
	c.pool.Run((rows+chunk-1)/chunk, &rowsTask{run, rows, chunk})
}

// run runs all operations but the last on a batch.
func (c *observer) run(x []float32) error {
	c.n = len(x) / c.g.Values[0].Size()
	c.vals = make([][]float32, len(c.g.Values))
	c.vals[0] = x
	for i := range c.g.Ops[:len(c.g.Ops)-1] {
		if err := c.op(i); err != nil {
			return err
		}
	}
	return nil
}

func (c *observer) op(i int) error {
	op := &c.g.Ops[i]
	in, out := c.g.Values[op.In], c.g.Values[op.Out]
	x := c.vals[op.In]
	y := make([]float32, c.n*out.Size())
	c.vals[op.Out] = y
	var res []float32
	if op.Res >= 0 {
		res = c.vals[op.Res]
	}
	finish := func(raw []float32, last int) {
		one, zero := slices.Repeat([]float32{1}, out.C), make([]float32, out.C)
		kernel.ScaleShift(y, raw, res, c.n*out.Pixels(), out.C, one, zero, op.Act)
		c.observe(i, last, y)
	}
	switch op.Kind {
	case nn.Conv, nn.Depthwise:
		raw := make([]float32, len(y))
		if err := c.convolve(i, x, raw); err != nil {
			return err
		}
		last := len(rangesOf(op)) - 1
		if last > 0 {
			c.observe(i, 0, raw)
		}
		finish(raw, last)
	case nn.Add:
		finish(x, 0)
	case nn.SE:
		c.squeeze(i, x, y)
	case nn.GlobalPool:
		c.means(x, y, in.Pixels(), in.C)
		c.observe(i, 0, y)
	case nn.MaxPool, nn.AvgPool:
		g := c.windows.Forward(in.H, in.W, op.K, op.Stride, false)
		for j := range c.n {
			xi, yi := x[j*in.Size():(j+1)*in.Size()], y[j*out.Size():(j+1)*out.Size()]
			if op.Kind == nn.MaxPool {
				kernel.MaxPool(g, xi, yi, nil, in.C)
			} else {
				kernel.AvgPool(g, xi, yi, in.C)
			}
		}
	default:
		return fmt.Errorf("operation %d (%s) has no int8 form", i, op.Kind)
	}
	return nil
}

// convolve computes a convolution and its normalisation.
func (c *observer) convolve(i int, x, y []float32) error {
	op := &c.g.Ops[i]
	l := &c.g.Layers[op.Layer]
	in, out := c.g.Values[op.In], c.g.Values[op.Out]
	var norm Affine
	if key := c.keys[i]; key != 0 {
		st, ok := c.norms[key]
		if !ok {
			return fmt.Errorf("no statistics for layer %s; calibrate it first", l.Name)
		}
		norm = c.net.fold(op.Layer, st)
	}
	w := c.net.W
	if op.Kind == nn.Depthwise {
		d := &kernel.Depthwise{
			G: c.windows.Forward(in.H, in.W, op.K, op.Stride, true), X: x, W: w.DeriveKernel(op.Layer, op.K), Y: y,
			C: out.C, CMax: l.Out, Scale: norm.Scale, Shift: norm.Shift,
		}
		c.rows(c.n*out.Pixels(), d.Rows)
		return nil
	}
	k := &kernel.Conv{
		G: c.windows.Forward(in.H, in.W, op.K, op.Stride, false), X: x, W: w.Of(w.Data, op.Layer, nn.Weight), Y: y,
		Cin: in.C, Cout: out.C, XPitch: in.C, YPitch: out.C, Taps: l.Taps(), InMax: l.In, Scale: norm.Scale, Shift: norm.Shift,
	}
	c.rows(c.n*out.Pixels(), k.Rows)
	return nil
}

func (c *observer) means(x, y []float32, pixels, ch int) {
	for j := range c.n {
		kernel.MeanPool(x[j*pixels*ch:(j+1)*pixels*ch], y[j*ch:(j+1)*ch], pixels, ch)
	}
}

// squeeze runs squeeze-and-excite.
func (c *observer) squeeze(i int, x, y []float32) {
	op := &c.g.Ops[i]
	in, l, w := c.g.Values[op.In], &c.g.Layers[op.Layer], c.net.W
	dense := func(x []float32, weight, bias nn.Role, cin, cout, inMax int, act kernel.Act) []float32 {
		out := make([]float32, c.n*cout)
		k := &kernel.Conv{
			G: kernel.IdentityGather(1), X: x, W: w.Of(w.Data, op.Layer, weight), Y: out, Cin: cin, Cout: cout,
			XPitch: cin, YPitch: cout, Taps: 1, InMax: inMax, Shift: w.Of(w.Data, op.Layer, bias), Act: act,
		}
		k.Rows(0, c.n)
		return out
	}
	mean := make([]float32, c.n*in.C)
	c.means(x, mean, in.Pixels(), in.C)
	hidden := dense(mean, nn.Weight, nn.Bias, in.C, op.Hidden, l.In, kernel.ReLU)
	gate := dense(hidden, nn.Weight2, nn.Bias2, op.Hidden, in.C, l.Hidden, kernel.Linear)
	c.observe(i, 0, mean)
	c.observe(i, 1, hidden)
	c.observe(i, 2, gate)
	one, zero := slices.Repeat([]float32{1}, in.C), make([]float32, in.C)
	kernel.ScaleShift(gate, gate, nil, c.n, in.C, one, zero, kernel.HSigmoid)
	for j := range c.n {
		a, b := j*in.Size(), (j+1)*in.Size()
		kernel.ScaleShift(y[a:b], x[a:b], nil, in.Pixels(), in.C, gate[j*in.C:(j+1)*in.C], zero, kernel.Linear)
	}
	c.observe(i, 3, y)
}
