package kernel

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// count notes how often each chunk ran, and on which threads.
type count struct {
	ran     []atomic.Int32
	threads atomic.Int64 // bit set
	wait    time.Duration
}

func (c *count) Do(i, thread int) {
	c.ran[i].Add(1)
	c.threads.Or(1 << thread)
	for start := time.Now(); time.Since(start) < c.wait; {
		runtime.Gosched()
	}
}

func TestPoolRunsEachChunkOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := NewPool(threads, Nice(1))
		if p.Threads() != threads {
			t.Errorf("Threads() = %d, want %d", p.Threads(), threads)
		}
		for round := range 200 {
			c := &count{ran: make([]atomic.Int32, round%13)}
			p.Run(len(c.ran), c)
			for i := range c.ran {
				if n := c.ran[i].Load(); n != 1 {
					t.Fatalf("%d threads, %d chunks: chunk %d ran %d times", threads, len(c.ran), i, n)
				}
			}
			if round%50 == 49 {
				time.Sleep(2 * spinTime) // let the helpers fall asleep
			}
		}
		p.Close()
	}
}

func TestPoolUsesAllThreads(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	for range 100 { // a helper may come too late once, but not always
		c := &count{ran: make([]atomic.Int32, 12), wait: time.Millisecond}
		p.Run(len(c.ran), c)
		if c.threads.Load() == 0b111 {
			return
		}
	}
	t.Error("a helper never ran a chunk")
}

type failing struct{ at int }

var errChunk = errors.New("chunk")

func (f failing) Do(i, _ int) {
	if i == f.at {
		panic(errChunk)
	}
}

func TestPoolRaisesPanics(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for i := range 50 {
		func() {
			defer func() {
				if v := recover(); v != any(errChunk) {
					t.Fatalf("chunk %d: recovered %v, want %v", i, v, errChunk)
				}
			}()
			p.Run(50, failing{i})
			t.Fatalf("chunk %d: no panic", i)
		}()
		p.Run(50, failing{-1}) // works on
	}
}

type nested struct{ p *Pool }

func (n nested) Do(int, int) { n.p.Run(2, failing{-1}) }

func TestPoolRefusesNesting(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	defer func() {
		if s, _ := recover().(string); !strings.Contains(s, "one task at a time") {
			t.Errorf("recovered %q", s)
		}
	}()
	p.Run(2, nested{p})
}

func TestPoolCloseEndsThreads(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		p := NewPool(4)
		p.Run(8, failing{-1})
		p.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestPoolRunAllocatesNothing(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	var task Task = &count{ran: make([]atomic.Int32, 4)}
	if n := testing.AllocsPerRun(100, func() { p.Run(4, task) }); n != 0 {
		t.Errorf("Run allocates %v times", n)
	}
}

func TestLowerPriority(t *testing.T) {
	failed := make(chan error)
	go func() { failed <- LowerPriority(5) }()
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

// BenchmarkPoolHot is the round trip of an empty task while the helper spins.
func BenchmarkPoolHot(b *testing.B) {
	p := NewPool(2)
	defer p.Close()
	for b.Loop() {
		p.Run(2, failing{-1})
	}
}

// BenchmarkPoolCold is the round trip of an empty task after the helper fell asleep.
func BenchmarkPoolCold(b *testing.B) {
	p := NewPool(2)
	defer p.Close()
	var total time.Duration
	for b.Loop() {
		for !p.helpers[0].asleep.Load() {
			time.Sleep(spinTime)
		}
		start := time.Now()
		p.Run(2, failing{-1})
		total += time.Since(start)
	}
	b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/run")
}
