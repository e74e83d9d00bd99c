package guard

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// tokens is a token bucket by the book: it holds so much time, as much comes in
// as passes, and a token costs what it takes to come.
type tokens struct {
	interval, depth, level, last time.Duration
}

func (b *tokens) take(at time.Duration) bool {
	b.level = min(b.depth, b.level+at-b.last)
	b.last = at
	if b.level < b.interval {
		return false
	}
	b.level -= b.interval
	return true
}

// The limit is that of a token bucket, and the time to come back is right: a
// request is let pass then and not before.
func TestRateIsThatOfATokenBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(minRate, 1e6).Draw(t, "rate")
		burst := rapid.IntRange(1, 20).Draw(t, "burst")
		c := &Client{limiter: newLimiter(Key{Rate: rate, Burst: burst}, start)}
		interval := c.interval
		if exact := float64(time.Second) / rate; float64(interval) < exact || float64(interval) >= exact+1 {
			t.Fatalf("a token comes every %v, want %v s", interval, 1/rate)
		}
		all := time.Duration(burst) * interval
		oracle := &tokens{interval: interval, depth: all, level: all}
		var at time.Duration
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			at += time.Duration(rapid.Float64Range(0, 3).Draw(t, "gap") * float64(interval))
			retry, err := c.Enter(start.Add(at))
			if ok := oracle.take(at); ok != (err == nil) {
				t.Fatalf("at %v: %v, the token bucket says %v", at, err, ok)
			}
			if err == nil {
				c.Leave()
				continue
			}
			if !errors.Is(err, ErrRate) || retry <= 0 || retry > interval {
				t.Fatalf("at %v: %v, come back in %v", at, err, retry)
			}
			if _, err := c.Enter(start.Add(at + retry - 1)); err == nil {
				t.Fatalf("at %v: let pass before the %v that were said", at, retry)
			}
			at += retry
			if _, err := c.Enter(start.Add(at)); err != nil || !oracle.take(at) {
				t.Fatalf("at %v: not let pass after the %v that were said", at, retry)
			}
			c.Leave()
		}
	})
}

func TestConcurrency(t *testing.T) {
	k := Key{Name: "a", Concurrent: 2, Rate: 3, Burst: 3}
	c := &Client{Key: k, limiter: newLimiter(k, start)}
	for range 2 {
		if _, err := c.Enter(start); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 { // costs no token
		if retry, err := c.Enter(start); !errors.Is(err, ErrBusy) || retry <= 0 {
			t.Fatalf("a third at a time: %v, %v", err, retry)
		}
	}
	c.Leave()
	if _, err := c.Enter(start); err != nil {
		t.Error(err)
	}
	c.Leave()
	if _, err := c.Enter(start); !errors.Is(err, ErrRate) {
		t.Errorf("a fourth of a burst of three: %v", err)
	}
	if _, err := c.Enter(start.Add(time.Second)); err != nil { // the refused one holds no place
		t.Error(err)
	}
	var nobody *Client
	if _, err := nobody.Enter(start); err != nil {
		t.Error(err)
	}
	nobody.Leave()
}

// However many goroutines enter at a time, no more get through than may.
func TestLimitsUnderContention(t *testing.T) {
	k := Key{Name: "a", Concurrent: 3, Rate: 1, Burst: 1000}
	c := &Client{Key: k, limiter: newLimiter(k, start)}
	var passed, inside, most atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if _, err := c.Enter(start); err != nil {
					continue
				}
				passed.Add(1)
				n := inside.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				inside.Add(-1)
				c.Leave()
			}
		})
	}
	wg.Wait()
	if passed.Load() > 1000 || most.Load() > 3 || c.running.Load() != 0 {
		t.Errorf("%d passed, %d at a time, %d left inside", passed.Load(), most.Load(), c.running.Load())
	}
}

// What a key has used up stays used when the file is read again, unless its rate changes.
func TestLimitsOutliveAReload(t *testing.T) {
	key := Key{Name: "a", Tenant: "a", SHA256: hash("a"), Rate: 0.001, Burst: 1, Concurrent: 1}
	path := keysFile(t, key)
	g, err := Open(path, start)
	if err != nil {
		t.Fatal(err)
	}
	enter := func(at time.Time) error {
		c, err := g.Allow(Use, "a", false)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Enter(at)
		return err
	}
	if err := enter(start); err != nil {
		t.Fatal(err)
	}
	inside, _ := g.Allow(Use, "a", false)
	change := func() {
		t.Helper()
		if err := Write(path, []Key{key}); err != nil {
			t.Fatal(err)
		}
		if changed, err := g.Reload(start.Add(time.Minute)); !changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	key.Admin = true
	change()
	if err := enter(start.Add(time.Minute)); !errors.Is(err, ErrBusy) {
		t.Errorf("while the one from before is under way: %v", err)
	}
	inside.Leave()
	if err := enter(start.Add(time.Minute)); !errors.Is(err, ErrRate) {
		t.Errorf("the token is used: %v", err)
	}
	key.Rate = 1
	change()
	if err := enter(start.Add(time.Minute)); err != nil {
		t.Errorf("at another rate: %v", err)
	}
}

// The file is read again while keys are looked up: one that stays is known all the time.
func TestReloadUnderLoad(t *testing.T) {
	a, b := Key{Name: "a", Tenant: "a", SHA256: hash("a"), Concurrent: 8}, Key{Name: "b", Tenant: "b", SHA256: hash("b")}
	path := keysFile(t, a)
	g, err := Open(path, start)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				allowed(t, g, "a", start)
			}
		})
	}
	for i := range 50 {
		if err := Write(path, []Key{a, b}[:1+i%2]); err != nil {
			t.Error(err)
		}
		if _, err := g.Reload(start); err != nil {
			t.Error(err)
		}
		if _, err := g.Allow(Use, "b", false); (err == nil) != (i%2 == 1) {
			t.Errorf("after change %d: %v", i, err)
		}
	}
	stop.Store(true)
	wg.Wait()
	if c, _ := g.Allow(Use, "a", false); c.running.Load() != 0 {
		t.Errorf("%d requests are under way", c.running.Load())
	}
}

// Finding a key and taking its place allocate nothing.
func TestAllowAllocatesNothing(t *testing.T) {
	key, digest := NewKey()
	g := open(t, Key{Name: "a", SHA256: digest, Rate: 1e9, Burst: 1e6, Concurrent: 10})
	now := start
	if n := testing.AllocsPerRun(100, func() { allowed(t, g, key, now) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func allowed(t testing.TB, g *Guard, key string, now time.Time) {
	c, err := g.Allow(Use, key, false)
	if err == nil {
		_, err = c.Enter(now)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Leave()
}

func BenchmarkAllow(b *testing.B) {
	key, digest := NewKey()
	g := open(b, Key{Name: "a", SHA256: digest, Rate: 1e9, Burst: 1e6, Concurrent: 10})
	b.ReportAllocs()
	for b.Loop() {
		allowed(b, g, key, time.Now())
	}
}
