package supernet

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"weft/kernel"
	"weft/nn"
)

var memoryFile = flag.String("memory", "", "write what BenchmarkMemory finds to this file as JSON")

// paretoLike returns n subnets such as an evolutionary search ends with: depth, expansions and width of a stage rise
// together (CompOFA), but for the expansion of one block, which is drawn anew.
func paretoLike(t testing.TB, s *Space, n int) []Arch {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 3))
	seen := map[Arch]bool{}
	var archs []Arch
	for tries := 0; len(archs) < n; tries++ {
		if tries > 200*n {
			t.Fatalf("space %s has fewer than %d such subnets", s.Name, n)
		}
		a := s.Sample(rng, Sampling{Coupled: true})
		a.Expand[rng.IntN(MaxBlocks)] = uint8(rng.IntN(len(s.Expansions)))
		if s.Contains(a) && !seen[a] {
			seen[a] = true
			archs = append(archs, a)
		}
	}
	return archs
}

// sixUniform returns six uniform subnets, evenly spaced from the smallest to the largest.
func sixUniform(s *Space) []Arch {
	all := s.Uniform()
	var six []Arch
	for i := range 6 {
		six = append(six, all[i*(len(all)-1)/5])
	}
	return six
}

// liveHeap returns the bytes of live objects.
func liveHeap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestMemoryIsCounted compares what a table and a worker say that they hold with what the heap holds.
func TestMemoryIsCounted(t *testing.T) {
	for _, half := range []bool{false, true} {
		for _, name := range []string{"resnet-28", "mbv3-28-k35"} {
			net := newTestNet(t, name)
			archs := paretoLike(t, net.Space, 40)
			norms := Norms{}
			rng := rand.New(rand.NewPCG(1, 2))
			for _, a := range archs {
				madeUp(t, net.Space, norms, a, rng)
			}
			pool := kernel.NewPool(2)
			before := liveHeap()
			table := NewTableWith(net, norms, Options{Tuning: net.Rule(net.WinogradBytes()), Half: half})
			w := NewWorker(pool)
			plans := make([]*Plan, len(archs))
			for i, a := range archs {
				var err error
				if plans[i], err = table.Plan(a); err != nil {
					t.Fatal(err)
				}
				w.Reserve(plans[i], 8)
			}
			held := liveHeap() - before
			m := table.Memory()
			said := m.Total() - m.Weights + w.Bytes()
			if d := math.Abs(float64(held - said)); d > 0.05*float64(held)+64<<10 {
				t.Errorf("%s (half %v): the heap grew by %d bytes, counted are %d: %+v and a worker of %d", name, half, held, said, m, w.Bytes())
			}
			runtime.KeepAlive(plans)
			runtime.KeepAlive(table)
			runtime.KeepAlive(w)
			pool.Close()
		}
	}
}

// TestHalfTablesAgree: normalisations in half precision change logits by a little, and no answer that is not a near
// tie.
func TestHalfTablesAgree(t *testing.T) {
	for _, name := range spacesForTest {
		net := newTestNet(t, name)
		pool := kernel.NewPool(2)
		e, norms := nn.NewExec(net.W, pool, false), Norms{}
		const n = 16
		x := testImages(net.Space, n)
		a := net.Space.Max()
		g, err := net.Space.Lower(a)
		if err != nil {
			t.Fatal(err)
		}
		norms.Add(e, g, [][]float32{normalised(net, x)})
		var logits [2][]float32
		for i, half := range []bool{false, true} {
			p, err := NewTableWith(net, norms, Options{Half: half}).Plan(a)
			if err != nil {
				t.Fatal(err)
			}
			logits[i] = make([]float32, n*p.Classes)
			NewWorker(pool).Run(p, x, n, logits[i])
		}
		pool.Close()
		if !closeTo(logits[1], logits[0], 0.02) {
			t.Errorf("%s: %v in half precision, %v in full", name, logits[1], logits[0])
		}
	}
}

// served is a line of the table that BenchmarkMemory prints.
type served struct {
	Subnets int `json:"subnets"`
	Memory
	Worker    int     `json:"worker"`
	Sum       int     `json:"sum"`
	Extracted int     `json:"extracted"` // six uniform subnets in the same engine, each with weights of its own
	Ratio     float64 `json:"ratio"`
}

// BenchmarkMemory counts what 500 and 1,000 subnets of ofa-resnet50d hold that are served from one copy of the
// weights, with a worker of two threads and batches of 8, and what six uniform subnets hold that are cut out.
func BenchmarkMemory(b *testing.B) {
	noLoop(b)
	net := newTestNet(b, "ofa-resnet50d")
	pool := kernel.NewPool(2)
	defer pool.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	hold := func(net *Supernet, norms Norms, archs []Arch, w *Worker) Memory {
		table := NewTableWith(net, norms, Options{Tuning: net.Rule(net.WinogradBytes()), Half: true})
		for _, a := range archs {
			madeUp(b, net.Space, norms, a, rng)
			p, err := table.Plan(a)
			if err != nil {
				b.Fatal(err)
			}
			w.Reserve(p, 8)
			clear(norms)
		}
		return table.Memory()
	}
	w := NewWorker(pool)
	extracted := 0
	for _, a := range sixUniform(net.Space) {
		norms := Norms{}
		madeUp(b, net.Space, norms, a, rng)
		c, own, err := net.Cut(a, norms)
		if err != nil {
			b.Fatal(err)
		}
		extracted += hold(c, own, c.Space.Uniform(), w).Total()
	}
	extracted += w.Bytes()
	var rows []served
	for _, n := range []int{500, 1000} {
		w := NewWorker(pool)
		m := hold(net, Norms{}, paretoLike(b, net.Space, n), w)
		r := served{Subnets: n, Memory: m, Worker: w.Bytes(), Sum: m.Total() + w.Bytes(), Extracted: extracted}
		r.Ratio = float64(extracted) / float64(r.Sum)
		rows = append(rows, r)
		b.ReportMetric(r.Ratio, fmt.Sprintf("x/%d", n))
	}
	mb := func(n int) float64 { return float64(n) / 1e6 }
	for _, r := range rows {
		b.Logf("%d subnets: %.1f MB (weights %.1f, transformed %.1f, normalisations %.1f, plans %.1f, descriptions and windows %.1f, worker %.1f); six cut out: %.1f MB, %.2f times as much",
			r.Subnets, mb(r.Sum), mb(r.Weights), mb(r.Winograd), mb(r.Norms), mb(r.Plans), mb(r.Ops+r.Windows+r.Kernels), mb(r.Worker), mb(r.Extracted), r.Ratio)
	}
	if *memoryFile != "" {
		data, err := json.MarshalIndent(rows, "", " ")
		if err == nil {
			err = os.WriteFile(*memoryFile, append(data, '\n'), 0o644)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
