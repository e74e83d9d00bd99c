// Command weft-peer runs weft for the side-by-side bench; it speaks the protocol of
// package peer.
package main

import (
	"fmt"
	"log"
	"os"
	"runtime"

	"weft/bench/peer"
	"weft/kernel"
	"weft/supernet"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("weft-peer: ")
	e := engine{nets: map[netKey]*net{}}
	if err := peer.Serve(os.Stdin, os.Stdout, e.handle); err != nil {
		log.Fatal(err)
	}
}

// engine holds the supernets made so far and what is loaded.
type engine struct {
	nets   map[netKey]*net
	pool   *kernel.Pool
	worker *supernet.Worker
	run    func() error              // one run of what is loaded
	values func() ([]float32, error) // its logits, or the losses of a step
}

func (e *engine) handle(q peer.Request) (peer.Reply, error) {
	switch q.Do {
	case "hello":
		return peer.Reply{Version: fmt.Sprintf("%s, kernels %s", runtime.Version(), kernel.Tier())}, nil
	case "load":
		return e.load(q)
	case "export":
		return e.export(q)
	case "serve":
		return e.serve(q)
	case "train":
		return e.train(q)
	}
	if e.run == nil {
		return peer.Reply{}, fmt.Errorf("cannot %q: nothing is loaded", q.Do)
	}
	switch q.Do {
	case "logits":
		v, err := e.values()
		return peer.Reply{Values: v}, err
	case "run":
		return peer.Timed(q, e.run)
	}
	return peer.Reply{}, fmt.Errorf("unknown request %q", q.Do)
}

// threads gives the engine a pool of so many threads and a worker on it, in a process as
// weft serve sets it up.
func (e *engine) threads(n int) {
	if e.pool != nil && e.pool.Threads() == n {
		return
	}
	if e.pool != nil {
		e.pool.Close()
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + n)
	e.pool = kernel.NewPool(n)
	e.worker = supernet.NewWorker(e.pool)
}
