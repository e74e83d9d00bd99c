package main

import (
	"fmt"
	"log"
	"math/rand/v2"
	"slices"

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

// served is how many subnets weft holds at once, rising.
var served = []int{500, 1000}

// memory compares what networks hold and how long one takes to become ready.
func (b *bench) memory() error {
	if b.selected("load "+memorySpace) && b.ctx.Err() == nil {
		if err := b.loading(); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	if b.selected("memory "+memorySpace) && b.ctx.Err() == nil {
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

// loading compares the making of a session from a file with the making of a plan by a
// server that has served the subnet before. weft's workers keep their plans and switch
// between them at no cost; this is what switching would take if they kept none.
func (b *bench) loading() error {
	subnets, models, err := b.export()
	if err != nil {
		return err
	}
	weft, err := b.startWeft()
	if err != nil {
		return err
	}
	defer weft.Close()
	ort, err := b.startORT()
	if err != nil {
		return err
	}
	defer ort.Close()
	for i, name := range subnets {
		p := compare.Point{Peer: ortName, Work: "load", Space: memorySpace, Subnet: name, Pixels: memoryPixels, Batch: 1, Threads: 1}
		if err := b.loadPoint(p, models[i], ort, weft); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) loadPoint(p compare.Point, model string, ort, weft *peer.Proc) error {
	q := peer.Request{Do: "load", Space: p.Space, Pixels: p.Pixels, Subnets: []string{p.Subnet}, Batch: p.Batch, Threads: p.Threads, Path: model}
	if _, err := weft.Call(q); err != nil {
		return err
	}
	q.Variant = "again"
	var times [2][]float64
	for p.Rounds = range 5 {
		for i, e := range []*peer.Proc{ort, weft} {
			a, err := e.Call(q)
			if err != nil {
				return err
			}
			times[i] = append(times[i], float64(a.NS)/1e3)
		}
	}
	p.Rounds++
	p.PeerUS, p.WeftUS = compare.Median(times[0]), compare.Median(times[1])
	p.Ratio = p.PeerUS / p.WeftUS
	b.points = append(b.points, p)
	log.Printf("%s %s: %.0f / %.0f µs = %.0f", label(p), p.Subnet, p.PeerUS, p.WeftUS, p.Ratio)
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
			q := peer.Request{Do: "add", Space: memorySpace, Pixels: memoryPixels, Batch: 1, Threads: 2, Path: m}
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
	return b.residentWeft(sixBytes)
}

// residentWeft has one process serve more and more subnets.
func (b *bench) residentWeft(peerBytes int64) error {
	names, err := paretoLike(served[len(served)-1])
	if err != nil {
		return err
	}
	weft, err := b.startWeft()
	if err != nil {
		return err
	}
	defer weft.Close()
	done, bytes := 0, int64(0)
	for _, n := range served {
		grown, err := growth(weft, func() error {
			_, err := weft.Call(peer.Request{
				Do: "serve", Space: memorySpace, Pixels: memoryPixels, Subnets: names[done:n], Batch: 1, Threads: 2,
			})
			return err
		})
		if err != nil {
			return err
		}
		done, bytes = n, bytes+grown
		b.hold("weft", n, bytes, peerBytes)
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

// paretoLike returns n different subnets such as an evolutionary search ends with: depth,
// expansions and width of a stage rise together (CompOFA), but for the expansion of one
// block, which was drawn anew.
func paretoLike(n int) ([]string, error) {
	s, err := nets.Space(memorySpace, memoryPixels)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(nets.Seed, 3))
	var names []string
	for tries := 0; len(names) < n; tries++ {
		if tries > 100*n {
			return nil, fmt.Errorf("space %s has fewer than %d such subnets", memorySpace, n)
		}
		a := s.Sample(rng, supernet.Sampling{Coupled: true})
		a.Expand[rng.IntN(len(a.Expand))] = uint8(rng.IntN(len(s.Expansions)))
		if name := s.Format(a); s.Contains(a) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}
