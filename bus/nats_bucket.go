package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// markerTime is how long the mark of a key that went stays, for watches that lag behind.
const markerTime = time.Hour

// Headers of NATS' key-value stores and of publishing to a stream.
const (
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
	headerTTL       = "Nats-TTL"
	headerID        = "Nats-Msg-Id"
	headerExpect    = "Nats-Expected-Last-Subject-Sequence"
)

// natsBucket is a stream with one message a key.
type natsBucket struct {
	bus    *NATS
	name   string
	stream jetstream.Stream
}

// Bucket implements Bus.
func (n *NATS) Bucket(ctx context.Context, name string, o BucketOptions) (Bucket, error) {
	if err := checkBucket(name, o); err != nil {
		return nil, err
	}
	duplicates := 2 * time.Minute
	if o.TTL > 0 {
		duplicates = min(duplicates, o.TTL)
	}
	s, err := n.stream(ctx, jetstream.StreamConfig{
		Name: "KV_" + name, Subjects: []string{"$KV." + name + ".>"},
		MaxMsgsPerSubject: 1, MaxAge: o.TTL, Duplicates: duplicates,
		Discard: jetstream.DiscardNew, DenyDelete: true, AllowRollup: true,
		AllowMsgTTL: true, SubjectDeleteMarkerTTL: markerTime,
	})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	return &natsBucket{bus: n, name: name, stream: s}, nil
}

func (b *natsBucket) subject(key string) string { return "$KV." + b.name + "." + key }

// gone says that a message marks the end of a key.
func gone(h nats.Header) bool { return h.Get(headerOperation) != "" || h.Get(headerMarker) != "" }

// wrap says in an error what was being done.
func (b *natsBucket) wrap(what, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s key %s of bucket %s: %w", what, key, b.name, err)
}

// Get implements Bucket.
func (b *natsBucket) Get(ctx context.Context, key string) (Entry, error) {
	m, err := b.last(ctx, key)
	if err == nil && gone(m.Header) {
		err = ErrNotFound
	}
	if err != nil {
		return Entry{}, b.wrap("get", key, err)
	}
	return Entry{Key: key, Value: m.Data, Revision: m.Sequence}, nil
}

// last returns the newest message of a key.
func (b *natsBucket) last(ctx context.Context, key string) (m *jetstream.RawStreamMsg, err error) {
	if err := checkSubject(key); err != nil {
		return nil, err
	}
	err = b.bus.retry(ctx, func(ctx context.Context) error {
		m, err = b.stream.GetLastMsgForSubject(ctx, b.subject(key))
		return err
	})
	return m, err
}

// publish appends a message for a key, where expect is given only if the newest one has that revision. All attempts
// carry the same identity, by which a write is known of which only the answer was lost.
func (b *natsBucket) publish(ctx context.Context, key string, value []byte, h nats.Header, expect *uint64) (revision uint64, err error) {
	if err := checkSubject(key); err != nil {
		return 0, err
	}
	if err := checkSize(value); err != nil {
		return 0, err
	}
	if h == nil {
		h = nats.Header{}
	}
	h.Set(headerID, nuid.Next())
	if expect != nil {
		h.Set(headerExpect, strconv.FormatUint(*expect, 10))
	}
	attempts := 0
	err = b.bus.retry(ctx, func(ctx context.Context) error {
		attempts++
		ack, err := b.bus.js.PublishMsg(ctx, &nats.Msg{Subject: b.subject(key), Header: h, Data: value})
		if err == nil {
			revision = ack.Sequence
		}
		return err
	})
	if attempts > 1 && errors.Is(err, ErrConflict) { // with an earlier attempt, perhaps
		m, lastErr := b.last(ctx, key)
		if lastErr == nil && m.Header.Get(headerID) == h.Get(headerID) {
			return m.Sequence, nil
		}
	}
	return revision, err
}

// Put implements Bucket.
func (b *natsBucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := b.publish(ctx, key, value, nil, nil)
	return revision, b.wrap("put", key, err)
}

// Create implements Bucket.
func (b *natsBucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	var expect uint64
	for {
		revision, err := b.publish(ctx, key, value, nil, &expect)
		if !errors.Is(err, ErrConflict) {
			return revision, b.wrap("create", key, err)
		}
		m, err := b.last(ctx, key) // a mark of deletion is no value
		switch {
		case errors.Is(err, ErrNotFound):
			expect = 0
		case err != nil:
			return 0, b.wrap("create", key, err)
		case !gone(m.Header):
			return 0, b.wrap("create", key, ErrExists)
		default:
			expect = m.Sequence
		}
	}
}

// Update implements Bucket.
func (b *natsBucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if revision == 0 {
		return 0, b.wrap("update", key, ErrConflict)
	}
	revision, err := b.publish(ctx, key, value, nil, &revision)
	return revision, b.wrap("update", key, err)
}

// Delete implements Bucket.
func (b *natsBucket) Delete(ctx context.Context, key string) error {
	_, err := b.publish(ctx, key, nil, nats.Header{headerOperation: {"DEL"}, headerTTL: {markerTime.String()}}, nil)
	return b.wrap("delete", key, err)
}

// Keys implements Bucket.
func (b *natsBucket) Keys(ctx context.Context, prefix string) ([]string, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, fmt.Errorf("keys of bucket %s: %w", b.name, err)
	}
	var present map[string]bool
	err := b.bus.retry(ctx, func(ctx context.Context) error {
		present = map[string]bool{}
		return b.read(ctx, prefix, true, func(c Change) (more bool) {
			present[c.Key] = c.Kind == Put
			return c.Kind != Current
		})
	})
	if err != nil {
		return nil, fmt.Errorf("keys of bucket %s: %w", b.name, err)
	}
	maps.DeleteFunc(present, func(_ string, there bool) bool { return !there })
	return slices.Sorted(maps.Keys(present)), nil
}

// filter is the narrowest pattern for keys with a prefix.
func (b *natsBucket) filter(prefix string) string {
	return b.subject(prefix[:strings.LastIndexByte(prefix, '.')+1] + ">")
}
