package bustest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/bus"
)

func watches(t *testing.T, f Fixture) {
	t.Run("begin with what is there", f.watchState)
	t.Run("end", f.watchEnds)
	t.Run("arrive at the last state", f.converge)
}

func (f Fixture) watchState(t *testing.T) {
	ctx, a, b := within(t), f.connect(t), f.connect(t)
	bucket, err := a.Bucket(ctx, "watched", bus.BucketOptions{})
	must(t, err)
	for _, key := range []string{"x.2", "x.1", "y", "x.gone"} {
		_, err := bucket.Put(ctx, key, []byte(key))
		must(t, err)
	}
	must(t, bucket.Delete(ctx, "x.gone"))
	other, err := b.Bucket(ctx, "watched", bus.BucketOptions{})
	must(t, err)
	changes, err := other.Watch(ctx, "x.")
	must(t, err)
	state := map[string]string{}
	for {
		c := receive(ctx, t, changes)
		if c.Kind == bus.Current {
			break
		}
		if c.Kind != bus.Put {
			t.Errorf("got %v %s before the state was there", c.Kind, c.Key)
		}
		state[c.Key] = string(c.Value)
	}
	if diff := cmp.Diff(map[string]string{"x.1": "x.1", "x.2": "x.2"}, state); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	revision, err := bucket.Put(ctx, "x.1", []byte("new"))
	must(t, err)
	if c := receive(ctx, t, changes); c.Kind != bus.Put || c.Key != "x.1" || string(c.Value) != "new" || c.Revision != revision {
		t.Errorf("got %v, want the new value at revision %d", c, revision)
	}
	must(t, bucket.Delete(ctx, "x.2"))
	if c := receive(ctx, t, changes); c.Kind != bus.Deleted || c.Key != "x.2" || c.Value != nil {
		t.Errorf("got %v, want the deletion of x.2", c)
	}
	_, err = bucket.Put(ctx, "y", nil)
	must(t, err)
	_, err = bucket.Create(ctx, "x.2", []byte("back"))
	must(t, err)
	if c := receive(ctx, t, changes); c.Kind != bus.Put || c.Key != "x.2" || string(c.Value) != "back" {
		t.Errorf("got %v, want x.2 and nothing outside the prefix", c)
	}
	empty, err := other.Watch(ctx, "none")
	must(t, err)
	if c := receive(ctx, t, empty); c.Kind != bus.Current {
		t.Errorf("an empty state begins with %v", c)
	}
}

func (f Fixture) watchEnds(t *testing.T) {
	ctx, b := within(t), f.Connect(t)
	defer b.Close()
	bucket, err := b.Bucket(ctx, "ends", bus.BucketOptions{})
	must(t, err)
	byContext, cancel := context.WithCancel(ctx)
	first, err := bucket.Watch(byContext, "")
	must(t, err)
	second, err := bucket.Watch(ctx, "")
	must(t, err)
	for _, w := range []<-chan bus.Change{first, second} {
		if c := receive(ctx, t, w); c.Kind != bus.Current {
			t.Errorf("got %v, want current", c)
		}
	}
	cancel()
	closes(ctx, t, first)
	_, err = bucket.Put(ctx, "k", nil) // which nobody takes from second
	must(t, err)
	must(t, b.Close())
	closes(ctx, t, second)
}

// closes waits for the end of a channel, after at most a few changes.
func closes(ctx context.Context, t *testing.T, changes <-chan bus.Change) {
	t.Helper()
	for {
		select {
		case _, open := <-changes:
			if !open {
				return
			}
		case <-ctx.Done():
			t.Fatal("the watch does not end")
		}
	}
}

// converge lets writers race and readers, one of them slow, put together what they are told.
func (f Fixture) converge(t *testing.T) {
	const writers, writes, keys = 4, 80, 8
	ctx, b := within(t), f.connect(t)
	bucket, err := b.Bucket(ctx, "races", bus.BucketOptions{})
	must(t, err)
	results := make(chan map[string]string, 3)
	for reader := range 3 {
		own, err := f.connect(t).Bucket(ctx, "races", bus.BucketOptions{})
		must(t, err)
		changes, err := own.Watch(ctx, "")
		must(t, err)
		go func() { results <- fold(changes, time.Duration(reader%2)*2*time.Millisecond) }()
	}
	var group sync.WaitGroup
	for w := range writers {
		own, err := f.connect(t).Bucket(ctx, "races", bus.BucketOptions{})
		must(t, err)
		random := rand.New(rand.NewPCG(1, uint64(w)))
		group.Go(func() {
			for i := range writes {
				key := fmt.Sprintf("k%d", random.IntN(keys))
				if random.IntN(3) == 0 {
					must(t, own.Delete(ctx, key))
				} else if _, err := own.Put(ctx, key, fmt.Appendf(nil, "%d of %d", i, w)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	want := map[string]string{"end": "reached"}
	present, err := bucket.Keys(ctx, "")
	must(t, err)
	for _, key := range present {
		e, err := bucket.Get(ctx, key)
		must(t, err)
		want[key] = string(e.Value)
	}
	_, err = bucket.Put(ctx, "end", []byte("reached"))
	must(t, err)
	for range cap(results) {
		if diff := cmp.Diff(want, receive(ctx, t, results)); diff != "" {
			t.Errorf("a reader ends with (-want +got):\n%s", diff)
		}
	}
}

// fold applies changes to a map until the key "end" is there.
func fold(changes <-chan bus.Change, pause time.Duration) map[string]string {
	state := map[string]string{}
	for c := range changes {
		switch c.Kind {
		case bus.Put:
			state[c.Key] = string(c.Value)
		case bus.Deleted:
			delete(state, c.Key)
		}
		if slices.Contains(slices.Collect(maps.Keys(state)), "end") {
			break
		}
		time.Sleep(pause)
	}
	return state
}
