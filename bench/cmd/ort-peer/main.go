// Command ort-peer runs ONNX models with ONNX Runtime for the side-by-side bench; it
// speaks the protocol of package peer.
//
// It gives ONNX Runtime its best case: all graph optimisations, its threads spinning and
// its arena on as they are by default, weights prepacked, and tensors in its own layout
// made and bound before anything is timed.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"runtime"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"weft/bench/nets"
	"weft/bench/peer"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("ort-peer: ")
	runtime.LockOSThread()
	var e engine
	if err := peer.Serve(os.Stdin, os.Stdout, e.handle); err != nil {
		log.Fatal(err)
	}
}

// engine holds the sessions that are loaded; the last one is run.
type engine struct{ loaded []*session }

// session is a model with its bound input and output. ONNX Runtime keeps pointers to
// both tensors and does not keep them alive.
type session struct {
	*ort.AdvancedSession
	in, out *ort.Tensor[float32]
}

func (e *engine) handle(q peer.Request) (peer.Reply, error) {
	switch q.Do {
	case "hello":
		ort.SetSharedLibraryPath(q.Lib)
		if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
			return peer.Reply{}, fmt.Errorf("load %s: %w", q.Lib, err)
		}
		return peer.Reply{Version: ort.GetVersion()}, nil
	case "load":
		if err := e.unload(); err != nil {
			return peer.Reply{}, err
		}
		return e.load(q)
	case "add":
		return e.load(q)
	}
	if len(e.loaded) == 0 {
		return peer.Reply{}, fmt.Errorf("cannot %q: no model is loaded", q.Do)
	}
	s := e.loaded[len(e.loaded)-1]
	switch q.Do {
	case "logits":
		if err := s.Run(); err != nil {
			return peer.Reply{}, err
		}
		return peer.Reply{Values: s.out.GetData()}, nil
	case "run":
		return peer.Timed(q, s.Run)
	}
	return peer.Reply{}, fmt.Errorf("unknown request %q", q.Do)
}

// load makes a session for a batch size, runs it once and answers with the time that its
// making took.
func (e *engine) load(q peer.Request) (peer.Reply, error) {
	ins, outs, err := ort.GetInputOutputInfo(q.Path)
	if err != nil {
		return peer.Reply{}, fmt.Errorf("read %s: %w", q.Path, err)
	}
	if len(ins) != 1 || len(outs) < 1 {
		return peer.Reply{}, fmt.Errorf("%s has %d inputs and %d outputs, not one input", q.Path, len(ins), len(outs))
	}
	space, err := nets.Space(q.Space, q.Pixels)
	if err != nil {
		return peer.Reply{}, err
	}
	in, n := space.Input, int64(q.Batch)
	images := nets.Planar(nets.Images(in, q.Batch), in, q.Batch)
	s := &session{}
	if s.in, err = ort.NewTensor(ort.NewShape(n, int64(in.C), int64(in.H), int64(in.W)), images); err != nil {
		return peer.Reply{}, err
	}
	if s.out, err = ort.NewEmptyTensor[float32](ort.NewShape(n, int64(space.Classes))); err != nil {
		return peer.Reply{}, err
	}
	options, err := best(q.Threads)
	if err != nil {
		return peer.Reply{}, err
	}
	defer options.Destroy()
	start := time.Now()
	s.AdvancedSession, err = ort.NewAdvancedSession(q.Path, []string{ins[0].Name}, []string{outs[0].Name},
		[]ort.Value{s.in}, []ort.Value{s.out}, options)
	if err != nil {
		return peer.Reply{}, fmt.Errorf("load %s: %w", q.Path, err)
	}
	took := time.Since(start)
	e.loaded = append(e.loaded, s)
	return peer.Reply{NS: took.Nanoseconds()}, s.Run()
}

// best returns the options that are fastest for a number of threads.
func best(threads int) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	return o, errors.Join(
		o.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll),
		o.SetExecutionMode(ort.ExecutionModeSequential),
		o.SetIntraOpNumThreads(threads),
		o.SetInterOpNumThreads(1),
		o.SetCpuMemArena(true),
		o.SetMemPattern(true),
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "1"),
	)
}

func (e *engine) unload() error {
	var errs []error
	for _, s := range e.loaded {
		errs = append(errs, s.Destroy(), s.in.Destroy(), s.out.Destroy())
	}
	e.loaded = nil
	return errors.Join(errs...)
}
