package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"weft/atomicfile"
	"weft/bench/nets"
	"weft/bench/peer"
	"weft/nn"
	"weft/supernet"
	"weft/tensor"
)

// Settings of the training step; another engine's program reads them from the job file.
const (
	rate, momentum, decay = 0.01, 0.9, 5e-4
)

// step is a sandwich step on a fixed batch: the first network learns from the labels,
// the others from its probabilities; one update for the sum of gradients (as weft/train).
type step struct {
	net      *supernet.Supernet
	exec     *nn.Exec
	graphs   []*nn.Graph
	images   []float32 // normalised
	labels   []int32
	n        int
	velocity []float32
	dlogits  []float32
	teacher  []float32
	losses   []float32 // of the last step
}

// train prepares the step over the subnets and writes what it takes to do the same
// elsewhere to the folder.
func (e *engine) train(q peer.Request) (peer.Reply, error) {
	s, err := nets.Space(q.Space, q.Pixels)
	if err != nil {
		return peer.Reply{}, err
	}
	e.threads(q.Threads)
	t := &step{net: supernet.New(s, nets.Mean, nets.Std, rand.New(rand.NewPCG(nets.Seed, 0))), n: q.Batch}
	for _, name := range q.Subnets {
		g, err := nets.Graph(s, name)
		if err != nil {
			return peer.Reply{}, err
		}
		t.graphs = append(t.graphs, g)
	}
	t.exec = nn.NewExec(t.net.W, e.pool, true)
	t.velocity = tensor.Floats(len(t.net.W.Data))
	pitch := t.graphs[0].Pitch()
	t.dlogits, t.teacher = make([]float32, q.Batch*pitch), make([]float32, q.Batch*pitch)
	t.losses = make([]float32, len(t.graphs))
	t.images = nets.Normalised(nets.Images(s.Input, q.Batch))
	rng := rand.New(rand.NewPCG(nets.Seed, 1))
	t.labels = make([]int32, q.Batch)
	for i := range t.labels {
		t.labels[i] = int32(rng.IntN(s.Classes))
	}
	if err := t.write(q.Path); err != nil {
		return peer.Reply{}, err
	}
	e.run = t.run
	e.values = func() ([]float32, error) { return t.losses, t.run() }
	return peer.Reply{}, nil
}

func (t *step) run() error {
	rows, dz := nn.Rows{N: t.n, Classes: t.net.Space.Classes, Pitch: t.graphs[0].Pitch()}, t.dlogits
	t.exec.ZeroGrad()
	for i, g := range t.graphs {
		z := t.exec.Forward(g, t.images, t.n)
		if i == 0 {
			clear(t.teacher)
			rows.AddLabels(t.teacher, t.labels, 0, 1)
			t.losses[i] = float32(rows.CrossEntropy(dz, z, t.teacher, 1, 1))
			rows.Softmax(t.teacher, z, 1)
		} else {
			t.losses[i] = float32(rows.CrossEntropy(dz, z, t.teacher, 1, 1))
		}
		t.exec.Backward(dz)
	}
	nn.SGD{LR: rate, Momentum: momentum, Decay: decay}.Step(t.net.W, t.exec.Grad, t.velocity)
	t.exec.Changed()
	return nil
}

// job describes the step to another engine. Weights and images are in job.bin, float32,
// little endian, one after the other: parameters in canonical order (nn.Weights), then
// images [n][H][W][C].
type job struct {
	Params   []param  `json:"params"`
	Images   []int    `json:"images"` // shape
	Labels   []int32  `json:"labels"`
	Nets     []jobNet `json:"nets"`
	Rate     float64  `json:"rate"`
	Momentum float64  `json:"momentum"`
	Decay    float64  `json:"decay"`
	Eps      float64  `json:"eps"`
}

type param struct {
	Layer  int    `json:"layer"`
	Role   string `json:"role"`
	Shape  []int  `json:"shape"`
	Decays bool   `json:"decays"`
}

type jobNet struct {
	Channels []int   `json:"channels"` // of each value
	Ops      []jobOp `json:"ops"`
}

type jobOp struct {
	Kind   string `json:"kind"`
	Layer  int    `json:"layer"`
	In     int    `json:"in"`
	Out    int    `json:"out"`
	Res    int    `json:"res"`
	K      int    `json:"k"`
	Stride int    `json:"stride"`
	Hidden int    `json:"hidden"`
	Act    string `json:"act"`
	Norm   bool   `json:"norm"`
}

func (t *step) write(dir string) error {
	in := t.net.Space.Input
	j := job{Images: []int{t.n, in.H, in.W, in.C}, Labels: t.labels, Rate: rate, Momentum: momentum, Decay: decay, Eps: nn.Eps}
	w := t.net.W
	for i := range w.Params {
		p := &w.Params[i]
		j.Params = append(j.Params, param{Layer: p.Layer, Role: p.Role.String(), Shape: p.Shape, Decays: p.Decays})
	}
	for _, g := range t.graphs {
		var n jobNet
		for _, v := range g.Values {
			n.Channels = append(n.Channels, v.C)
		}
		for _, op := range g.Ops {
			n.Ops = append(n.Ops, jobOp{
				Kind: op.Kind.String(), Layer: op.Layer, In: op.In, Out: op.Out, Res: op.Res, K: op.K, Stride: op.Stride,
				Hidden: op.Hidden, Act: op.Act.String(), Norm: op.Layer >= 0 && g.Layers[op.Layer].Norm,
			})
		}
		j.Nets = append(j.Nets, n)
	}
	return errors.Join(
		atomicfile.Write(filepath.Join(dir, "job.json"), func(f io.Writer) error { return json.NewEncoder(f).Encode(j) }),
		writeFloats(filepath.Join(dir, "job.bin"), w, t.images),
	)
}

func writeFloats(path string, w *nn.Weights, images []float32) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	for i := range w.Params {
		err = errors.Join(err, binary.Write(out, binary.LittleEndian, w.Canonical(w.Data, i)))
	}
	return errors.Join(err, binary.Write(out, binary.LittleEndian, images), out.Flush(), f.Close())
}
