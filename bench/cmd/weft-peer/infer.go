package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"weft/bench/nets"
	"weft/bench/peer"
	"weft/kernel"
	"weft/nn"
	"weft/onnx"
	"weft/supernet"
)

type netKey struct {
	space  string
	pixels int
}

// net is a supernet with the plans made from it so far.
type net struct {
	space *supernet.Space
	super *supernet.Supernet
	norms supernet.Norms
	table *supernet.Table
	plans map[string]*supernet.Plan
}

// net returns the supernet of a space, made from the seed on first use.
func (e *engine) net(space string, pixels int) (*net, error) {
	k := netKey{space, pixels}
	if n := e.nets[k]; n != nil {
		return n, nil
	}
	clear(e.nets) // one at a time, for the sake of memory
	s, err := nets.Space(space, pixels)
	if err != nil {
		return nil, err
	}
	n := &net{space: s, norms: supernet.Norms{}, plans: map[string]*supernet.Plan{}}
	n.super = supernet.New(s, nets.Mean, nets.Std, rand.New(rand.NewPCG(nets.Seed, 0)))
	if err := soften(n.super); err != nil {
		return nil, err
	}
	n.table = supernet.NewTable(n.super, n.norms)
	e.nets[k] = n
	return n, nil
}

// soften makes residual branches weak, as they are in trained networks. With random
// weights at full strength rounding grows from block to block and hides whether two
// engines compute the same.
func soften(net *supernet.Supernet) error {
	g, err := net.Space.Lower(net.Space.Max())
	if err != nil {
		return err
	}
	for i := range g.Ops {
		if op := &g.Ops[i]; op.Res >= 0 && op.Layer >= 0 {
			for j, gamma := 0, net.W.Of(net.W.Data, op.Layer, nn.Gamma); j < len(gamma); j++ {
				gamma[j] *= 0.25
			}
		}
	}
	return nil
}

// calibrate measures what the table lacks for the subnets, on random images.
func (n *net) calibrate(s *supernet.Space, subnets []string, images int) error {
	pool := kernel.NewPool(2)
	defer pool.Close()
	exec := nn.NewExec(n.super.W, pool, false)
	x := nets.Images(s.Input, images)
	for i := range x {
		x[i] = (x[i] - nets.Mean[i%3]) / nets.Std[i%3]
	}
	for _, name := range subnets {
		g, err := graph(s, name)
		if err != nil {
			return err
		}
		n.norms.Add(exec, g, [][]float32{x})
	}
	return nil
}

func graph(s *supernet.Space, name string) (*nn.Graph, error) {
	a, err := s.Parse(name)
	if err != nil {
		return nil, err
	}
	return s.Lower(a)
}

// plan makes a calibrated subnet ready and returns the time that this took, 0 if it was
// before.
func (n *net) plan(name string) (*supernet.Plan, time.Duration, error) {
	if p := n.plans[name]; p != nil {
		return p, 0, nil
	}
	a, err := n.space.Parse(name)
	if err != nil {
		return nil, 0, err
	}
	start := time.Now()
	p, err := n.table.Plan(a)
	if err != nil {
		return nil, 0, err
	}
	n.plans[name] = p
	return p, time.Since(start), nil
}

// calibrationImages is how many images statistics are measured on: the more the smaller
// they are, so that the last layers, of a few pixels, see enough of them for a variance
// that is not near 0, which would amplify rounding.
func calibrationImages(pixels int) int { return max(64*32*32/(pixels*pixels), 4) }

// load makes one subnet ready for a batch size and a number of threads. It answers with
// the time that making the plan took, 0 if there was one; variant "again" makes it anew.
func (e *engine) load(q peer.Request) (peer.Reply, error) {
	if len(q.Subnets) != 1 {
		return peer.Reply{}, fmt.Errorf("load takes one subnet, not %d", len(q.Subnets))
	}
	n, err := e.net(q.Space, q.Pixels)
	if err != nil {
		return peer.Reply{}, err
	}
	if err := n.calibrate(n.space, q.Subnets, calibrationImages(q.Pixels)); err != nil {
		return peer.Reply{}, err
	}
	if q.Variant == "again" {
		delete(n.plans, q.Subnets[0])
	}
	p, took, err := n.plan(q.Subnets[0])
	if err != nil {
		return peer.Reply{}, err
	}
	e.threads(q.Threads)
	images, logits := nets.Images(n.space.Input, q.Batch), make([]float32, q.Batch*p.Classes)
	e.run = func() error {
		e.worker.Run(p, images, q.Batch, logits)
		return nil
	}
	e.values = func() ([]float32, error) { return logits, e.run() }
	return peer.Reply{NS: took.Nanoseconds()}, e.run()
}

// export writes the subnets as ONNX files into a folder and answers with their names.
func (e *engine) export(q peer.Request) (peer.Reply, error) {
	n, err := e.net(q.Space, q.Pixels)
	if err != nil {
		return peer.Reply{}, err
	}
	if err := n.calibrate(n.space, q.Subnets, calibrationImages(q.Pixels)); err != nil {
		return peer.Reply{}, err
	}
	var r peer.Reply
	for _, name := range q.Subnets {
		path := filepath.Join(q.Path, fmt.Sprintf("%s-%d-%s.onnx", q.Space, q.Pixels, name))
		if err := n.writeONNX(path, name); err != nil {
			return r, err
		}
		r.Names = append(r.Names, path)
	}
	return r, nil
}

func (n *net) writeONNX(path, name string) error {
	a, err := n.space.Parse(name)
	if err != nil {
		return err
	}
	model, err := onnx.Export(n.super, n.norms, a, onnx.Options{})
	if err != nil {
		return err
	}
	return os.WriteFile(path, model, 0o644)
}

// serve makes many subnets ready at once and runs each once on the batch, then gives
// back the memory that only this preparation needed.
func (e *engine) serve(q peer.Request) (peer.Reply, error) {
	n, err := e.net(q.Space, q.Pixels)
	if err != nil {
		return peer.Reply{}, err
	}
	// Statistics of small images take as much memory and less time.
	small, err := n.space.At(min(q.Pixels, 32))
	if err != nil {
		return peer.Reply{}, err
	}
	if err := n.calibrate(small, q.Subnets, 4); err != nil {
		return peer.Reply{}, err
	}
	e.threads(q.Threads)
	images := nets.Images(n.space.Input, q.Batch)
	for _, name := range q.Subnets {
		p, _, err := n.plan(name)
		if err != nil {
			return peer.Reply{}, err
		}
		e.worker.Run(p, images, q.Batch, make([]float32, q.Batch*p.Classes))
	}
	debug.FreeOSMemory()
	return peer.Reply{}, nil
}
