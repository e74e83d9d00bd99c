package main

import (
	"fmt"
	"log"
	"math/rand/v2"
	"slices"
	"time"

	"weft/bench/compare"
	"weft/bench/machine"
	"weft/bench/nets"
	"weft/bench/peer"
	"weft/supernet"
)

// Memory and loading are compared on the space of SuperServe's convolutional supernet.
const (
	memorySpace  = "ofa-resnet50d"
	memoryPixels = 224
	memoryNets   = 6 // models of the peer
)

// served is how many subnets weft holds at once.
var served = []int{500, 1000}

// memory compares what networks hold and how long one takes to become ready.
func (b *bench) memory() error {
	if b.selected("load " + memorySpace) {
		if err := b.loading(); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	if b.selected("memory " + memorySpace) {
		if err := b.resident(); err != nil {
			return fmt.Errorf("memory: %w", err)
		}
	}
	return nil
}

// export writes the uniform subnets as models and returns their names and files.
func (b *bench) export() (subnets, models []string, err error) {
	space, err := nets.Space(memorySpace, memoryPixels)
	if err != nil {
		return nil, nil, err
	}
	weft, err := b.startWeft()
	if err != nil {
		return nil, nil, err
	}
	defer weft.Close()
	subnets = nets.Uniform(space, memoryNets)
	a, err := weft.Call(peer.Request{Do: "export", Space: memorySpace, Pixels: memoryPixels, Subnets: subnets, Path: b.tmp})
	return subnets, a.Names, err
}

// loading compares the making of a session from a file with the making of a plan from
// the supernet in memory, each in a process that has nothing loaded of the kind before.
func (b *bench) loading() error {
	subnets, models, err := b.export()
	if err != nil {
		return err
	}
	const repeats = 3
	times := map[string][2][]float64{}
	for range repeats {
		weft, err := b.startWeft()
		if err != nil {
			return err
		}
		ort, err := b.startORT()
		if err != nil {
			return err
		}
		for i, name := range subnets {
			q := peer.Request{Do: "load", Space: memorySpace, Pixels: memoryPixels, Subnets: []string{name}, Batch: 1, Threads: 1}
			w, err := weft.Call(q)
			if err != nil {
				return err
			}
			q.Path = models[i]
			o, err := ort.Call(q)
			if err != nil {
				return err
			}
			t := times[name]
			t[0], t[1] = append(t[0], float64(o.NS)), append(t[1], float64(w.NS))
			times[name] = t
		}
		if err := weft.Close(); err != nil {
			return err
		}
		if err := ort.Close(); err != nil {
			return err
		}
	}
	for _, name := range subnets {
		p := compare.Point{
			Peer: ortName, Work: "load", Space: memorySpace, Subnet: name, Pixels: memoryPixels, Batch: 1, Threads: 1, Rounds: repeats,
			PeerUS: micros(time.Duration(compare.Median(times[name][0]))), WeftUS: micros(time.Duration(compare.Median(times[name][1]))),
		}
		p.Ratio = p.PeerUS / p.WeftUS
		b.points = append(b.points, p)
		log.Printf("%s %s: %.0f / %.0f µs = %.0f", label(p), p.Subnet, p.PeerUS, p.WeftUS, p.Ratio)
	}
	return nil
}

// resident measures what a fresh process holds after it has loaded its networks and run
// each once.
func (b *bench) resident() error {
	_, models, err := b.export()
	if err != nil {
		return err
	}
	ort, err := b.startORT()
	if err != nil {
		return err
	}
	defer ort.Close()
	sixBytes, err := growth(ort, func() error {
		for _, m := range models {
			q := peer.Request{Do: "add", Space: memorySpace, Pixels: memoryPixels, Batch: 1, Threads: 1, Path: m}
			if _, err := ort.Call(q); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.hold(ortName, len(models), sixBytes, sixBytes)
	for _, n := range served {
		names, err := coupled(n)
		if err != nil {
			return err
		}
		weft, err := b.startWeft()
		if err != nil {
			return err
		}
		bytes, err := growth(weft, func() error {
			_, err := weft.Call(peer.Request{Do: "serve", Space: memorySpace, Pixels: memoryPixels, Subnets: names, Batch: 1, Threads: 1})
			return err
		})
		if err != nil {
			weft.Close()
			return err
		}
		if err := weft.Close(); err != nil {
			return err
		}
		b.hold("weft", n, bytes, sixBytes)
	}
	return nil
}

func (b *bench) hold(engine string, networks int, bytes, peerBytes int64) {
	m := compare.Memory{
		Engine: engine, Space: memorySpace, Pixels: memoryPixels, Networks: networks, Bytes: bytes,
		Ratio: float64(peerBytes) / float64(bytes),
	}
	b.held = append(b.held, m)
	log.Printf("memory %s: %d networks in %.1f MB", engine, networks, float64(bytes)/1e6)
}

// growth returns by how many bytes an engine grows when f makes it work.
func growth(p *peer.Proc, f func() error) (int64, error) {
	before, err := machine.Resident(p.PID())
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := machine.Resident(p.PID())
	return after - before, err
}

// coupled returns n different subnets as a Pareto set has them: depth, expansions and
// width of a stage rise together (CompOFA).
func coupled(n int) ([]string, error) {
	s, err := nets.Space(memorySpace, memoryPixels)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(nets.Seed, 3))
	var names []string
	for tries := 0; len(names) < n; tries++ {
		if tries > 100*n {
			return nil, fmt.Errorf("space %s has fewer than %d coupled subnets", memorySpace, n)
		}
		name := s.Format(s.Sample(rng, supernet.Sampling{Coupled: true}))
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}
