package bus

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// minTTL is the shortest time that NATS keeps a value.
const minTTL = 100 * time.Millisecond

func checkBucket(name string, o BucketOptions) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("bucket: %w", err)
	}
	if o.TTL != 0 && o.TTL < minTTL {
		return fmt.Errorf("bucket %s: values can't go after %v: allow %v or more, or 0 to keep them", name, o.TTL, minTTL)
	}
	return nil
}

// memoryValues is what a bucket of Memory keeps, under the lock of the hub.
type memoryValues struct {
	hub      *memoryHub
	ttl      time.Duration
	revision uint64
	values   map[string]memoryValue
	watches  map[*memoryWatch]bool
	timer    *time.Timer // for the next value to go
}

// memoryBucket is a bucket as a connection sees it.
type memoryBucket struct {
	conn *Memory
	name string
	*memoryValues
}

type memoryValue struct {
	data     []byte
	revision uint64
	written  time.Time
}

// locked calls fn under the lock, once key and state allow it, and says in its errors what was being done.
func (b *memoryBucket) locked(ctx context.Context, what, key string, fn func() error) error {
	err := checkSubject(key)
	if err == nil {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		err = b.conn.ready(ctx)
	}
	if err == nil {
		b.expire()
		err = fn()
	}
	if err != nil {
		return fmt.Errorf("%s key %s of bucket %s: %w", what, key, b.name, err)
	}
	return nil
}

// Get implements Bucket.
func (b *memoryBucket) Get(ctx context.Context, key string) (e Entry, err error) {
	err = b.locked(ctx, "get", key, func() error {
		v, ok := b.values[key]
		if !ok {
			return ErrNotFound
		}
		e = Entry{Key: key, Value: bytes.Clone(v.data), Revision: v.revision}
		return nil
	})
	return e, err
}

// Put implements Bucket.
func (b *memoryBucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.set(ctx, "put", key, value, func(uint64) error { return nil })
}

// Create implements Bucket.
func (b *memoryBucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.set(ctx, "create", key, value, func(now uint64) error {
		if now != 0 {
			return ErrExists
		}
		return nil
	})
}

// Update implements Bucket.
func (b *memoryBucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return b.set(ctx, "update", key, value, func(now uint64) error {
		if now != revision || now == 0 {
			return ErrConflict
		}
		return nil
	})
}

// set writes a value if allow agrees to the key's present revision, 0 for none.
func (b *memoryBucket) set(ctx context.Context, what, key string, value []byte, allow func(uint64) error) (revision uint64, err error) {
	err = b.locked(ctx, what, key, func() error {
		if err := checkSize(value); err != nil {
			return err
		}
		if err := allow(b.values[key].revision); err != nil {
			return err
		}
		b.revision++
		revision = b.revision
		b.values[key] = memoryValue{data: bytes.Clone(value), revision: revision, written: time.Now()}
		b.schedule()
		b.tell(Change{Kind: Put, Entry: Entry{Key: key, Value: bytes.Clone(value), Revision: revision}})
		return nil
	})
	return revision, err
}

// Delete implements Bucket.
func (b *memoryBucket) Delete(ctx context.Context, key string) error {
	return b.locked(ctx, "delete", key, func() error {
		if _, ok := b.values[key]; ok {
			b.remove(key)
		}
		return nil
	})
}

func (v *memoryValues) remove(key string) {
	delete(v.values, key)
	v.revision++
	v.tell(Change{Kind: Deleted, Entry: Entry{Key: key}})
}

// Keys implements Bucket.
func (b *memoryBucket) Keys(ctx context.Context, prefix string) ([]string, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, fmt.Errorf("keys of bucket %s: %w", b.name, err)
	}
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	if err := b.conn.ready(ctx); err != nil {
		return nil, fmt.Errorf("keys of bucket %s: %w", b.name, err)
	}
	b.expire()
	return b.keys(prefix), nil
}

func (v *memoryValues) keys(prefix string) []string {
	keys := slices.Sorted(maps.Keys(v.values))
	return slices.DeleteFunc(keys, func(k string) bool { return !strings.HasPrefix(k, prefix) })
}

// timeUp is what the timer calls.
func (v *memoryValues) timeUp() {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	v.expire()
}

// expire removes the values whose time is over.
func (v *memoryValues) expire() {
	now := time.Now()
	for _, key := range v.keys("") {
		if v.ttl > 0 && now.Sub(v.values[key].written) >= v.ttl {
			v.remove(key)
		}
	}
	v.schedule()
}

// schedule sets the timer for the value that goes next.
func (v *memoryValues) schedule() {
	if v.ttl == 0 || len(v.values) == 0 {
		v.timer.Stop()
		return
	}
	var first time.Time
	for _, value := range v.values {
		if first.IsZero() || value.written.Before(first) {
			first = value.written
		}
	}
	v.timer.Reset(max(time.Until(first.Add(v.ttl)), 0))
}
