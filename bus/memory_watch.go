package bus

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// memoryWatch holds what a reader has not taken yet: the newest change of each key, in the order in which they came
// to wait. It is thus never longer than the bucket.
type memoryWatch struct {
	prefix  string
	order   []string
	pending map[string]Change
	wake    chan struct{} // holds a token while there may be something
}

// add notes a change, the key "" standing for Current. Locked.
func (w *memoryWatch) add(c Change) {
	if _, waits := w.pending[c.Key]; !waits {
		w.order = append(w.order, c.Key)
	}
	w.pending[c.Key] = c
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next takes the change that waits longest.
func (b *memoryBucket) next(w *memoryWatch) (c Change, ok bool) {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	if len(w.order) == 0 {
		return Change{}, false
	}
	c = w.pending[w.order[0]]
	delete(w.pending, w.order[0])
	w.order = w.order[1:]
	return c, true
}

// tell passes a change to the watches that it concerns. Locked.
func (v *memoryValues) tell(c Change) {
	for w := range v.watches {
		if strings.HasPrefix(c.Key, w.prefix) {
			w.add(c)
		}
	}
}

// Watch implements Bucket.
func (b *memoryBucket) Watch(ctx context.Context, prefix string) (<-chan Change, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, fmt.Errorf("watch bucket %s: %w", b.name, err)
	}
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	if err := b.conn.ready(ctx); err != nil {
		return nil, fmt.Errorf("watch bucket %s: %w", b.name, err)
	}
	b.expire()
	w := &memoryWatch{prefix: prefix, pending: map[string]Change{}, wake: make(chan struct{}, 1)}
	for _, key := range b.keys(prefix) {
		v := b.values[key]
		w.add(Change{Kind: Put, Entry: Entry{Key: key, Value: bytes.Clone(v.data), Revision: v.revision}})
	}
	w.add(Change{Kind: Current})
	b.watches[w] = true
	out := make(chan Change)
	go b.serve(ctx, w, out)
	return out, nil
}

// serve hands changes to the reader until it or the bus goes away.
func (b *memoryBucket) serve(ctx context.Context, w *memoryWatch, out chan<- Change) {
	defer close(out)
	defer func() {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		delete(b.watches, w)
	}()
	for {
		c, ok := b.next(w)
		to := out
		if !ok {
			to = nil // nothing to send: wait for the token
		}
		select {
		case to <- c:
		case <-wakeUnless(ok, w.wake):
		case <-ctx.Done():
			return
		case <-b.conn.closed:
			return
		}
	}
}

// wakeUnless leaves the token where it is while a change is at hand.
func wakeUnless(busy bool, wake <-chan struct{}) <-chan struct{} {
	if busy {
		return nil
	}
	return wake
}
