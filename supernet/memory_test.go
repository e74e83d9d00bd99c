package supernet

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
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

// sixUniform returns six uniform subnets, evenly spaced from the smallest to the largest in their order.
func sixUniform(s *Space) []Arch {
	all := s.Uniform()
	var six []Arch
	for i := range 6 {
		six = append(six, all[i*(len(all)-1)/5])
	}
	return six
}

// sixByMACs returns six uniform subnets, evenly spaced in MACs (SuperServe's six: "uniformly spaced in FLOPs").
func sixByMACs(s *Space) []Arch {
	all := s.Uniform()
	macs := func(a Arch) float64 { return float64(s.lower(a).MACs()) }
	lo, hi := macs(all[0]), macs(all[len(all)-1])
	var six []Arch
	for i := range 6 {
		want := lo + float64(i)*(hi-lo)/5
		six = append(six, slices.MinFunc(all, func(a, b Arch) int {
			return cmp.Compare(math.Abs(macs(a)-want), math.Abs(macs(b)-want))
		}))
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
	for _, compact := range []bool{false, true} {
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
			table := NewTableWith(net, norms, Options{Tuning: net.Rule(net.WinogradBytes()), Compact: compact})
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
				t.Errorf("%s (compact %v): the heap grew by %d bytes, counted are %d: %+v and a worker of %d", name, compact, held, said, m, w.Bytes())
			}
			runtime.KeepAlive(plans)
			runtime.KeepAlive(table)
			runtime.KeepAlive(w)
			pool.Close()
		}
	}
}

// TestCompactTablesAgree: compact normalisations change logits by a little.
func TestCompactTablesAgree(t *testing.T) {
	for _, name := range spacesForTest {
		net := newTestNet(t, name)
		pool := kernel.NewPool(2)
		e, norms := nn.NewExec(net.W, pool, false), Norms{}
		const n = 16
		x := testImages(net.Space, n)
		var tables [2]*Table
		for i := range tables {
			tables[i] = NewTableWith(net, norms, Options{Compact: i == 1})
		}
		for _, a := range paretoLike(t, net.Space, 12) {
			g, err := net.Space.Lower(a)
			if err != nil {
				t.Fatal(err)
			}
			norms.Add(e, g, [][]float32{normalised(net, x)})
			var logits [2][]float32
			for i, table := range tables {
				p, err := table.Plan(a)
				if err != nil {
					t.Fatal(err)
				}
				logits[i] = make([]float32, n*p.Classes)
				NewWorker(pool).Run(p, x, n, logits[i])
			}
			if !closeTo(logits[1], logits[0], 0.05) {
				t.Errorf("%s %s: %v compact, %v whole", name, net.Space.Format(a), logits[1], logits[0])
			}
		}
		pool.Close()
		if near, all := inEightBits(tables[1]), len(tables[1].folded); near < all*9/10 {
			t.Errorf("%s: %d of %d normalisations in 8 bits", name, near, all)
		}
	}
}

// inEightBits counts the normalisations that are.
func inEightBits(t *Table) int {
	n := 0
	for _, f := range t.folded {
		if f.near != nil {
			n++
		}
	}
	return n
}

// served is a line of the table that BenchmarkMemory prints.
type served struct {
	Subnets int `json:"subnets"`
	Memory
	Worker int      `json:"worker"`
	Sum    int      `json:"sum"`
	CutOut []cutOut `json:"cut_out"`
}

// cutOut is what six uniform subnets hold in the same engine, each with weights of its own.
type cutOut struct {
	Choice string `json:"choice"`
	Memory
	Worker int     `json:"worker"`
	Sum    int     `json:"sum"`
	Ratio  float64 `json:"ratio"` // to the served ones
}

// hold returns what subnets of a network with made-up statistics hold.
func hold(b *testing.B, net *Supernet, norms Norms, archs []Arch, options Options, w *Worker) Memory {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	table := NewTableWith(net, norms, options)
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

// BenchmarkMemory counts what 500 and 1,000 subnets of ofa-resnet50d hold that are served from one copy of the
// weights, with a worker of two threads and batches of 8, and what six uniform subnets hold that are cut out, their
// layers computed in the same way and run by one such worker.
func BenchmarkMemory(b *testing.B) {
	noLoop(b)
	net := newTestNet(b, "ofa-resnet50d")
	pool := kernel.NewPool(2)
	defer pool.Close()
	tuning := net.Rule(net.WinogradBytes())
	var cutOuts []cutOut
	for choice, six := range map[string][]Arch{"by rank": sixUniform(net.Space), "by MACs": sixByMACs(net.Space)} {
		w := NewWorker(pool)
		c := cutOut{Choice: choice}
		for _, a := range six {
			norms := Norms{}
			madeUp(b, net.Space, norms, a, rand.New(rand.NewPCG(1, 2)))
			own, stats, err := net.Cut(a, norms)
			if err != nil {
				b.Fatal(err)
			}
			c.Memory = c.Memory.plus(hold(b, own, stats, own.Space.Uniform(), Options{Tuning: tuning}, w))
		}
		c.Worker = w.Bytes()
		c.Sum = c.Total() + c.Worker
		cutOuts = append(cutOuts, c)
	}
	slices.SortFunc(cutOuts, func(x, y cutOut) int { return cmp.Compare(x.Sum, y.Sum) })
	var rows []served
	for _, n := range []int{500, 1000} {
		w := NewWorker(pool)
		m := hold(b, net, Norms{}, paretoLike(b, net.Space, n), Options{Tuning: tuning, Compact: true}, w)
		r := served{Subnets: n, Memory: m, Worker: w.Bytes(), Sum: m.Total() + w.Bytes()}
		for _, c := range cutOuts {
			c.Ratio = float64(c.Sum) / float64(r.Sum)
			r.CutOut = append(r.CutOut, c)
			b.ReportMetric(c.Ratio, fmt.Sprintf("x/%d-%s", n, strings.ReplaceAll(c.Choice, " ", "-")))
		}
		rows = append(rows, r)
	}
	for _, r := range rows {
		b.Logf("%d subnets: %s", r.Subnets, inMB(&r.Memory, r.Worker, r.Sum))
	}
	for _, c := range cutOuts {
		b.Logf("six %s cut out: %s", c.Choice, inMB(&c.Memory, c.Worker, c.Sum))
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

// plus adds up what two tables hold.
func (m Memory) plus(o Memory) Memory {
	return Memory{
		m.Weights + o.Weights, m.Winograd + o.Winograd, m.Kernels + o.Kernels, m.Norms + o.Norms,
		m.Windows + o.Windows, m.Ops + o.Ops, m.Plans + o.Plans,
	}
}

func inMB(m *Memory, worker, sum int) string {
	mb := func(n int) float64 { return float64(n) / 1e6 }
	return fmt.Sprintf("%.1f MB (weights %.1f, transformed %.1f, normalisations %.1f, plans %.1f, descriptions and windows %.1f, worker %.1f)",
		mb(sum), mb(m.Weights), mb(m.Winograd), mb(m.Norms), mb(m.Plans), mb(m.Ops+m.Windows+m.Kernels), mb(worker))
}
