package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"weft/bench/nets"
	"weft/bench/peer"
	"weft/kernel"
	"weft/onnx"
	"weft/supernet"
)

type netKey struct {
	space  string
	pixels int
}

// net is a supernet with what was made from it so far.
type net struct {
	*nets.Net
	tunings map[int]*supernet.Tuning // by threads
	tables  map[tableKey]*supernet.Table
	plans   map[planKey]*supernet.Plan
}

// tableKey is what a table of plans depends on; that of int8 has no threads.
type tableKey struct {
	threads int
	compact bool
}

type planKey struct {
	subnet string
	tableKey
}

// net returns the supernet of a space, made on first use.
func (e *engine) net(space string, pixels int) (*net, error) {
	k := netKey{space, pixels}
	if n := e.nets[k]; n != nil {
		return n, nil
	}
	clear(e.nets) // one at a time, for the sake of memory
	n, err := nets.New(space, pixels)
	if err != nil {
		return nil, err
	}
	e.nets[k] = &net{n, map[int]*supernet.Tuning{}, map[tableKey]*supernet.Table{}, map[planKey]*supernet.Plan{}}
	return e.nets[k], nil
}

// table returns the table of plans for a pool's threads, tuned on it as weft serve does.
func (n *net) table(pool *kernel.Pool, compact bool) (*supernet.Table, error) {
	k := tableKey{pool.Threads(), compact}
	if t := n.tables[k]; t != nil {
		return t, nil
	}
	if n.tunings[k.threads] == nil {
		t, err := n.Tune(pool, n.WinogradBytes(), time.Now)
		if err != nil {
			return nil, err
		}
		n.tunings[k.threads] = &t
	}
	n.tables[k] = supernet.NewTableWith(n.Supernet, n.Norms, supernet.Options{Tuning: *n.tunings[k.threads], Compact: compact})
	return n.tables[k], nil
}

// plan makes a calibrated subnet ready and returns the time that this took, 0 if it was
// before.
func (n *net) plan(k planKey, pool *kernel.Pool) (*supernet.Plan, time.Duration, error) {
	if p := n.plans[k]; p != nil {
		return p, 0, nil
	}
	a, err := n.Space.Parse(k.subnet)
	if err != nil {
		return nil, 0, err
	}
	var compile func(supernet.Arch) (*supernet.Plan, error)
	if k.threads == 0 {
		table, err := n.Int8([]string{k.subnet})
		if err != nil {
			return nil, 0, err
		}
		compile = table.Plan
	} else {
		table, err := n.table(pool, k.compact)
		if err != nil {
			return nil, 0, err
		}
		compile = table.Plan
	}
	start := time.Now()
	p, err := compile(a)
	if err != nil {
		return nil, 0, err
	}
	n.plans[k] = p
	return p, time.Since(start), nil
}

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
	if err := n.Calibrate(n.Space, q.Subnets, nets.Enough(q.Pixels)); err != nil {
		return peer.Reply{}, err
	}
	e.threads(q.Threads)
	k := planKey{subnet: q.Subnets[0]}
	if !q.Int8 {
		k.threads = q.Threads
	}
	if q.Variant == "again" {
		delete(n.plans, k)
	}
	p, took, err := n.plan(k, e.pool)
	if err != nil {
		return peer.Reply{}, err
	}
	images, logits := nets.Images(n.Space.Input, q.Batch), make([]float32, q.Batch*p.Classes)
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
	if err := n.Calibrate(n.Space, q.Subnets, nets.Enough(q.Pixels)); err != nil {
		return peer.Reply{}, err
	}
	var r peer.Reply
	for _, name := range q.Subnets {
		path := filepath.Join(q.Path, fmt.Sprintf("%s-%d-%s-%s.onnx", q.Space, q.Pixels, name, map[bool]string{false: "fp32", true: "int8"}[q.Int8]))
		model, err := n.export(name, q.Int8)
		if err != nil {
			return r, err
		}
		if err := os.WriteFile(path, model, 0o644); err != nil {
			return r, err
		}
		r.Names = append(r.Names, path)
	}
	return r, nil
}

// export returns a calibrated subnet as an ONNX file.
func (n *net) export(name string, int8 bool) ([]byte, error) {
	a, err := n.Space.Parse(name)
	if err != nil {
		return nil, err
	}
	if !int8 {
		return onnx.Export(n.Supernet, n.Norms, a, onnx.Options{})
	}
	table, err := n.Int8([]string{name})
	if err != nil {
		return nil, err
	}
	quantised, err := table.Network(a)
	if err != nil {
		return nil, err
	}
	return onnx.ExportInt8(quantised, name, onnx.Options{})
}

// serve makes many subnets ready at once and runs each once on the batch, then gives
// back the memory that only this preparation needed, as weft serve does.
func (e *engine) serve(q peer.Request) (peer.Reply, error) {
	n, err := e.net(q.Space, q.Pixels)
	if err != nil {
		return peer.Reply{}, err
	}
	// Statistics of small images take as much memory and less time.
	small, err := n.Space.At(min(q.Pixels, 32))
	if err != nil {
		return peer.Reply{}, err
	}
	if err := n.Calibrate(small, q.Subnets, 4); err != nil {
		return peer.Reply{}, err
	}
	e.threads(q.Threads)
	images := nets.Images(n.Space.Input, q.Batch)
	for _, name := range q.Subnets {
		p, _, err := n.plan(planKey{name, tableKey{q.Threads, true}}, e.pool)
		if err != nil {
			return peer.Reply{}, err
		}
		e.worker.Run(p, images, q.Batch, make([]float32, q.Batch*p.Classes))
	}
	clear(n.Norms) // plans have folded them
	debug.FreeOSMemory()
	return peer.Reply{}, nil
}
