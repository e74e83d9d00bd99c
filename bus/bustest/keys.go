package bustest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/bus"
)

func keys(t *testing.T, f Fixture) {
	t.Run("are like a map", f.model)
	t.Run("are claimed by one", f.claim)
	t.Run("expire", f.expire)
	t.Run("have limits", f.keyLimits)
	t.Run("belong to their bucket", f.buckets)
}

// model drives two connections at random and compares with a map.
func (f Fixture) model(t *testing.T) {
	const steps = 600
	ctx := within(t)
	m := &keyModel{
		random: rand.New(rand.NewPCG(1, 2)), values: map[string]bus.Entry{}, old: map[string]uint64{},
		names: []string{"a", "a.b", "a.b.c", "ab", "b/x=1", "c_-"},
	}
	for range 2 {
		bucket, err := f.connect(t).Bucket(ctx, "model", bus.BucketOptions{})
		must(t, err)
		m.buckets = append(m.buckets, bucket)
	}
	operations := []func(context.Context, bus.Bucket, string, []byte) error{
		m.put, m.create, m.update, m.remove, m.get, m.get, m.list,
	}
	for i := range steps {
		value := make([]byte, m.random.IntN(8))
		for j := range value {
			value[j] = byte(m.random.Uint32())
		}
		do := pick(m.random, operations)
		if err := do(ctx, pick(m.random, m.buckets), pick(m.random, m.names), value); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

type keyModel struct {
	random  *rand.Rand
	buckets []bus.Bucket // one a connection
	names   []string
	values  map[string]bus.Entry
	old     map[string]uint64 // the last revision that a key had
	last    uint64            // the last of all
}

// written notes a successful write and spoils the slice that was handed in, which the bus must have copied.
func (m *keyModel) written(what, key string, value []byte, revision uint64, err error) error {
	if err != nil {
		return err
	}
	if revision <= m.last {
		return fmt.Errorf("%s %s: revision %d after %d", what, key, revision, m.last)
	}
	m.last, m.old[key] = revision, revision
	m.values[key] = bus.Entry{Key: key, Value: slices.Clone(value), Revision: revision}
	for i := range value {
		value[i]++
	}
	return nil
}

func (m *keyModel) put(ctx context.Context, b bus.Bucket, key string, value []byte) error {
	revision, err := b.Put(ctx, key, value)
	return m.written("put", key, value, revision, err)
}

func (m *keyModel) create(ctx context.Context, b bus.Bucket, key string, value []byte) error {
	revision, err := b.Create(ctx, key, value)
	if _, there := m.values[key]; there {
		return want(bus.ErrExists, err, "create", key)
	}
	return m.written("create", key, value, revision, err)
}

func (m *keyModel) update(ctx context.Context, b bus.Bucket, key string, value []byte) error {
	revision := pick(m.random, []uint64{m.old[key], m.old[key], m.old[pick(m.random, m.names)], m.last + 100, 0})
	got, err := b.Update(ctx, key, value, revision)
	if e, there := m.values[key]; !there || revision != e.Revision {
		return want(bus.ErrConflict, err, "update", key)
	}
	return m.written("update", key, value, got, err)
}

func (m *keyModel) remove(ctx context.Context, b bus.Bucket, key string, _ []byte) error {
	delete(m.values, key)
	return b.Delete(ctx, key)
}

func (m *keyModel) get(ctx context.Context, b bus.Bucket, key string, _ []byte) error {
	e, err := b.Get(ctx, key)
	expected, there := m.values[key]
	if !there {
		return want(bus.ErrNotFound, err, "get", key)
	}
	if err != nil || e.Key != key || string(e.Value) != string(expected.Value) || e.Revision != expected.Revision {
		return fmt.Errorf("get %s: %v, %w, want %v", key, e, err, expected)
	}
	return nil
}

func (m *keyModel) list(ctx context.Context, b bus.Bucket, _ string, _ []byte) error {
	prefix := pick(m.random, []string{"", "a", "a.", "a.b", "ab", "b/", "x"})
	present := slices.Sorted(maps.Keys(m.values))
	present = slices.DeleteFunc(present, func(k string) bool { return !strings.HasPrefix(k, prefix) })
	got, err := b.Keys(ctx, prefix)
	if err != nil || !slices.Equal(got, present) {
		return fmt.Errorf("keys %q: %v, %w, want %v", prefix, got, err, present)
	}
	return nil
}

// want turns any other error than the expected one into a failure.
func want(expected, err error, what, key string) error {
	if !errors.Is(err, expected) {
		return fmt.Errorf("%s %s: got error %w, want %w", what, key, err, expected)
	}
	return nil
}

// claim lets many ask for the same key, and many add to the same counter.
func (f Fixture) claim(t *testing.T) {
	const callers, each = 8, 10
	ctx := within(t)
	var group sync.WaitGroup
	var mu sync.Mutex
	winners := 0
	for range callers {
		bucket, err := f.connect(t).Bucket(ctx, "claims", bus.BucketOptions{})
		must(t, err)
		group.Go(func() {
			_, err := bucket.Create(ctx, "leader", nil)
			if err == nil {
				mu.Lock()
				winners++
				mu.Unlock()
			} else if !errors.Is(err, bus.ErrExists) {
				t.Errorf("create: %v", err)
			}
			for range each {
				if err := increment(ctx, bucket); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	bucket, err := f.connect(t).Bucket(ctx, "claims", bus.BucketOptions{})
	must(t, err)
	e, err := bucket.Get(ctx, "counter")
	must(t, err)
	if winners != 1 || len(e.Value) != callers*each {
		t.Errorf("%d winners and a count of %d, want 1 and %d", winners, len(e.Value), callers*each)
	}
}

// increment makes the value of a key one byte longer.
func increment(ctx context.Context, b bus.Bucket) error {
	for {
		e, err := b.Get(ctx, "counter")
		switch {
		case errors.Is(err, bus.ErrNotFound):
			_, err = b.Create(ctx, "counter", []byte("x"))
		case err == nil:
			_, err = b.Update(ctx, "counter", append(e.Value, 'x'), e.Revision)
		}
		if !errors.Is(err, bus.ErrConflict) && !errors.Is(err, bus.ErrExists) {
			return err
		}
	}
}

// expire renews one key and not the other.
func (f Fixture) expire(t *testing.T) {
	const ttl = 250 * time.Millisecond
	ctx, b := within(t), f.connect(t)
	bucket, err := b.Bucket(ctx, "leases", bus.BucketOptions{TTL: ttl})
	must(t, err)
	changes, err := bucket.Watch(ctx, "")
	must(t, err)
	if c := receive(ctx, t, changes); c.Kind != bus.Current {
		t.Errorf("an empty bucket begins with %v", c)
	}
	told := make(chan []string, 1)
	go func() { told <- until(ctx, changes, "put left again") }()
	start := time.Now()
	for _, key := range []string{"kept", "left"} {
		_, err = bucket.Create(ctx, key, nil)
		must(t, err)
	}
	var gone time.Duration
	for gone == 0 || time.Since(start) < 3*ttl {
		_, err := bucket.Put(ctx, "kept", nil)
		must(t, err)
		if _, err = bucket.Get(ctx, "left"); errors.Is(err, bus.ErrNotFound) && gone == 0 {
			gone = time.Since(start)
		}
		if _, err := bucket.Get(ctx, "kept"); err != nil {
			t.Fatalf("the lease was lost after %v though it was renewed: %v", time.Since(start), err)
		}
		time.Sleep(ttl / 4)
	}
	if gone < ttl || gone > ttl+time.Second+ttl/4 {
		t.Errorf("the lease was gone after %v, want %v and at most a second more", gone, ttl)
	}
	if _, err = bucket.Create(ctx, "left", []byte("again")); err != nil {
		t.Errorf("an expired key can't be created: %v", err)
	}
	expected := []string{"put left", "deleted left", "put left again"}
	if diff := cmp.Diff(expected, receive(ctx, t, told)); diff != "" {
		t.Errorf("the watch was told (-want +got):\n%s", diff)
	}
}

// until lists changes of other keys than "kept" up to the one that is asked for.
func until(ctx context.Context, changes <-chan bus.Change, last string) (told []string) {
	for !slices.Contains(told, last) {
		select {
		case c := <-changes:
			if c.Key != "kept" {
				told = append(told, strings.TrimSpace(fmt.Sprintf("%v %s %s", c.Kind, c.Key, c.Value)))
			}
		case <-ctx.Done():
			return told
		}
	}
	return told
}

func (f Fixture) keyLimits(t *testing.T) {
	ctx, b := within(t), f.connect(t)
	bucket, err := b.Bucket(ctx, "limits", bus.BucketOptions{})
	must(t, err)
	_, err = bucket.Put(ctx, "large", make([]byte, bus.MaxMessage))
	must(t, err)
	if e, err := bucket.Get(ctx, "large"); err != nil || len(e.Value) != bus.MaxMessage {
		t.Errorf("got %d bytes, %v", len(e.Value), err)
	}
	if _, err := bucket.Put(ctx, "large", make([]byte, bus.MaxMessage+1)); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("put: %v, want ErrTooLarge", err)
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "a b", "a:1", "*", ">", strings.Repeat("x", 256)} {
		_, getErr := bucket.Get(ctx, bad)
		_, putErr := bucket.Put(ctx, bad, nil)
		_, createErr := bucket.Create(ctx, bad, nil)
		_, updateErr := bucket.Update(ctx, bad, nil, 1)
		for _, err := range []error{getErr, putErr, createErr, updateErr, bucket.Delete(ctx, bad)} {
			if !errors.Is(err, bus.ErrBadName) {
				t.Errorf("key %q: %v, want ErrBadName", bad, err)
			}
		}
	}
	if _, err := bucket.Keys(ctx, "a.>"); !errors.Is(err, bus.ErrBadName) {
		t.Errorf("keys: %v, want ErrBadName", err)
	}
	if _, err := bucket.Watch(ctx, "*"); !errors.Is(err, bus.ErrBadName) {
		t.Errorf("watch: %v, want ErrBadName", err)
	}
	if _, err := b.Bucket(ctx, "short", bus.BucketOptions{TTL: time.Millisecond}); err == nil {
		t.Error("a bucket keeps values for a millisecond")
	}
	for _, bad := range []string{"", "a.b", "a/b", "a b", "*"} {
		if _, err := b.Bucket(ctx, bad, bus.BucketOptions{}); !errors.Is(err, bus.ErrBadName) {
			t.Errorf("bucket %q: %v, want ErrBadName", bad, err)
		}
		if _, err := b.Objects(ctx, bad); !errors.Is(err, bus.ErrBadName) {
			t.Errorf("objects %q: %v, want ErrBadName", bad, err)
		}
	}
}

// buckets opens the same bucket with other options: values stay, the options apply.
func (f Fixture) buckets(t *testing.T) {
	ctx, b := within(t), f.connect(t)
	one, err := b.Bucket(ctx, "one", bus.BucketOptions{})
	must(t, err)
	_, err = one.Put(ctx, "k", []byte("v"))
	must(t, err)
	two, err := b.Bucket(ctx, "two", bus.BucketOptions{})
	must(t, err)
	if _, err := two.Get(ctx, "k"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a key of another bucket: %v, want ErrNotFound", err)
	}
	one, err = b.Bucket(ctx, "one", bus.BucketOptions{TTL: time.Hour})
	must(t, err)
	if e, err := one.Get(ctx, "k"); err != nil || string(e.Value) != "v" {
		t.Errorf("after a change of options: %v, %v", e, err)
	}
	one, err = b.Bucket(ctx, "one", bus.BucketOptions{TTL: 100 * time.Millisecond})
	must(t, err)
	for err == nil && ctx.Err() == nil {
		_, err = one.Get(ctx, "k")
		time.Sleep(10 * time.Millisecond)
	}
	if !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a shorter life has no effect: %v", err)
	}
}
