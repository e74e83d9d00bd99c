package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A consumer of the server reads the bucket in its order and tells by heartbeats that it is there. One that is lost,
// with its server or by a gap, is replaced by a new one that begins from the state there is.
const (
	heartbeat = time.Second
	// pullTime is how long the server serves a request for messages. After another idleTime without any the consumer
	// goes, so that a reader too slow to ask again begins anew rather than from marks that may have gone meanwhile.
	pullTime = 5 * time.Second
	idleTime = 10 * time.Second
)

// read calls fn for the newest state of each key with the prefix, then with Current, then for changes, until fn wants
// no more. It returns an error when the connection is not to be trusted any longer.
func (b *natsBucket) read(ctx context.Context, prefix string, keysOnly bool, fn func(Change) (more bool)) error {
	ctx, cancel := b.bus.untilReconnect(ctx)
	defer cancel()
	consumer, err := b.bus.js.CreateConsumer(ctx, b.stream.CachedInfo().Config.Name, jetstream.ConsumerConfig{
		Name: nuid.Next(), FilterSubject: b.filter(prefix), DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: keysOnly, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: idleTime,
	})
	if err != nil {
		return err
	}
	defer b.remove(ctx, consumer)
	waiting := consumer.CachedInfo().NumPending // of the state there is
	if waiting == 0 && !fn(Change{Kind: Current}) {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat), jetstream.PullExpiry(pullTime))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for n := uint64(1); ; n++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("%w (%w)", errPassing, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != n {
			return fmt.Errorf("%w (messages of the bucket were lost on the way)", errPassing)
		}
		if c := b.change(m, meta); strings.HasPrefix(c.Key, prefix) && !fn(c) {
			return nil
		}
		if waiting > 0 && (meta.NumPending == 0 || n >= waiting) {
			waiting = 0
			if !fn(Change{Kind: Current}) {
				return nil
			}
		}
	}
}

func (b *natsBucket) change(m jetstream.Msg, meta *jetstream.MsgMetadata) Change {
	key := strings.TrimPrefix(m.Subject(), b.subject(""))
	if gone(m.Headers()) {
		return Change{Kind: Deleted, Entry: Entry{Key: key}}
	}
	return Change{Kind: Put, Entry: Entry{Key: key, Value: m.Data(), Revision: meta.Sequence.Stream}}
}

// remove spares the server the wait until the consumer goes by itself.
func (b *natsBucket) remove(ctx context.Context, c jetstream.Consumer) {
	if !b.bus.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeat)
	defer cancel()
	err := b.bus.js.DeleteConsumer(ctx, b.stream.CachedInfo().Config.Name, c.CachedInfo().Name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		b.bus.logger.Debug("bus keeps the consumer of a watch for a while", "bucket", b.name, "error", err)
	}
}

// Watch implements Bucket.
func (b *natsBucket) Watch(ctx context.Context, prefix string) (<-chan Change, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, fmt.Errorf("watch bucket %s: %w", b.name, err)
	}
	if b.bus.nc.IsClosed() {
		return nil, fmt.Errorf("watch bucket %s: %w", b.name, ErrClosed)
	}
	out := make(chan Change)
	go func() {
		w := natsWatch{bucket: b, prefix: prefix, known: map[string]Entry{}, out: out}
		w.run(ctx)
		close(out)
	}()
	return out, nil
}

// natsWatch reads a bucket as often as the connection demands and tells what differs from what it has told.
type natsWatch struct {
	bucket  *natsBucket
	prefix  string
	known   map[string]Entry // what was told and is there
	current bool             // Current was told
	out     chan<- Change
}

func (w *natsWatch) run(ctx context.Context) {
	wait := newBackoff()
	for ctx.Err() == nil && !w.bucket.bus.nc.IsClosed() {
		seen := map[string]bool{} // by this reading, until it is current
		caughtUp := false
		err := w.bucket.read(ctx, w.prefix, false, func(c Change) bool {
			if c.Kind == Current {
				wait, caughtUp = newBackoff(), true
				return w.forget(ctx, seen) && w.tellCurrent(ctx)
			}
			if !caughtUp {
				seen[c.Key] = c.Kind == Put
			}
			return w.tell(ctx, c)
		})
		if err != nil && ctx.Err() == nil {
			w.bucket.bus.logger.Debug("bus watch begins anew", "bucket", w.bucket.name, "error", err)
		}
		wait.sleep(ctx) //nolint:errcheck // the loop asks for the reason
	}
}

// tell passes a change on unless it was told before. Revisions alone do not show that: a server that lost its state
// gives them out anew.
func (w *natsWatch) tell(ctx context.Context, c Change) bool {
	old, known := w.known[c.Key]
	switch {
	case c.Kind == Deleted && !known:
		return true
	case c.Kind == Deleted:
		delete(w.known, c.Key)
	case known && old.Revision == c.Revision && bytes.Equal(old.Value, c.Value):
		return true
	default:
		w.known[c.Key] = c.Entry
	}
	return w.send(ctx, c)
}

// forget tells of the keys that went without a trace while the watch was cut off.
func (w *natsWatch) forget(ctx context.Context, seen map[string]bool) bool {
	for key := range w.known {
		if !seen[key] && !w.tell(ctx, Change{Kind: Deleted, Entry: Entry{Key: key}}) {
			return false
		}
	}
	return true
}

func (w *natsWatch) tellCurrent(ctx context.Context) bool {
	if w.current {
		return true
	}
	w.current = true
	return w.send(ctx, Change{Kind: Current})
}

func (w *natsWatch) send(ctx context.Context, c Change) bool {
	select {
	case w.out <- c:
		return true
	case <-ctx.Done():
		return false
	case <-w.bucket.bus.ended:
		return false
	}
}
