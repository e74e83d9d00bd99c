package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxPendingBytes bounds, besides maxPending, what waits for a subscriber.
const maxPendingBytes = 64 << 20

// NATS is a connection to a NATS server or cluster, kept up by itself. Buckets are streams as NATS' own key-value
// stores have them, object stores as NATS' own, so that its tools read both.
type NATS struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	logger *slog.Logger
	broken func() error // why the server will not get ready by itself, nil if it may

	mu      sync.Mutex
	subs    map[*nats.Subscription]bool
	dropped uint64             // by subscriptions that have ended
	era     context.Context    // ends when the connection comes back after a loss
	endEra  context.CancelFunc // of era
	ended   chan struct{}      // closed by Close
}

var _ Bus = (*NATS)(nil)

func newNATS(logger *slog.Logger) *NATS {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	n := &NATS{logger: logger, broken: func() error { return nil }, subs: map[*nats.Subscription]bool{}, ended: make(chan struct{})}
	n.era, n.endEra = context.WithCancel(context.Background())
	return n
}

// handlers follow the state of the connection.
func (n *NATS) handlers() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if err != nil || !nc.IsClosed() {
				n.logger.Warn("bus lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			n.logger.Info("bus connected again", "server", nc.ConnectedUrlRedacted())
			n.mu.Lock()
			defer n.mu.Unlock()
			n.endEra()
			n.era, n.endEra = context.WithCancel(context.Background())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			n.logger.Warn("bus trouble", "subject", subject, "error", err)
		}),
	}
}

// Publish implements Bus.
func (n *NATS) Publish(ctx context.Context, subject string, data []byte) error {
	err := checkSubject(subject)
	if err == nil {
		err = checkSize(data)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = translate(n.nc.Publish(subject, data))
	}
	if err != nil {
		return fmt.Errorf("publish to %s: %w", subject, err)
	}
	return nil
}

// Subscribe implements Bus.
func (n *NATS) Subscribe(ctx context.Context, pattern string, fn func(Message)) (stop func(), err error) {
	if err := checkPattern(pattern); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	sub, err := n.nc.Subscribe(pattern, func(m *nats.Msg) { fn(message(m)) })
	if err == nil {
		err = sub.SetPendingLimits(maxPending, maxPendingBytes)
	}
	if err == nil {
		err = n.flush(ctx)
	}
	if err != nil {
		if sub != nil {
			sub.Unsubscribe() //nolint:errcheck // there is an error already
		}
		return nil, fmt.Errorf("subscribe to %s: %w", pattern, translate(err))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subs[sub] = true
	return sync.OnceFunc(func() { n.unsubscribe(sub) }), nil
}

// flush waits until the server knows of a subscription. While there is none, the next one will be told.
func (n *NATS) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	err := n.nc.FlushWithContext(ctx)
	if err != nil && n.nc.IsReconnecting() {
		return nil
	}
	return err
}

func (n *NATS) unsubscribe(sub *nats.Subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dropped += dropped(sub)
	delete(n.subs, sub)
	if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		n.logger.Warn("bus trouble", "subject", sub.Subject, "error", err)
	}
}

func dropped(sub *nats.Subscription) uint64 {
	d, err := sub.Dropped()
	if err != nil { // it is closed
		return 0
	}
	return uint64(d)
}

func message(m *nats.Msg) Message {
	out := Message{Subject: m.Subject, Data: m.Data}
	if m.Reply != "" {
		out.respond = func(data []byte) error {
			err := checkSize(data)
			if err == nil {
				err = translate(m.Respond(data))
			}
			if err != nil {
				return fmt.Errorf("respond on %s: %w", m.Subject, err)
			}
			return nil
		}
	}
	return out
}

// Request implements Bus.
func (n *NATS) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	err := checkSubject(subject)
	if err == nil {
		err = checkSize(data)
	}
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	m, err := n.nc.RequestWithContext(ctx, subject, data)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("request on %s: %w", subject, ErrNoResponder)
	}
	if err != nil {
		return nil, fmt.Errorf("request on %s: %w", subject, translate(err))
	}
	return m.Data, nil
}

// Status implements Bus.
func (n *NATS) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Status{
		Connected: n.nc.IsConnected(), Server: n.nc.ConnectedUrlRedacted(),
		Reconnects: n.nc.Stats().Reconnects, Dropped: n.dropped,
	}
	for sub := range n.subs {
		s.Dropped += dropped(sub)
	}
	return s
}

// Close implements Bus.
func (n *NATS) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.nc.IsClosed() {
		n.nc.Close()
		n.endEra()
		close(n.ended)
	}
	return nil
}

// untilReconnect returns a context that also ends when the connection comes back after a loss.
func (n *NATS) untilReconnect(ctx context.Context) (context.Context, context.CancelFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(n.era, cancel)
	return ctx, func() { stop(); cancel() }
}

// stream opens what keeps a bucket or object store: it creates it or changes what differs from the wish, with as many
// copies as the cluster can hold, at most three.
func (n *NATS) stream(ctx context.Context, want jetstream.StreamConfig) (s jetstream.Stream, err error) {
	err = n.retry(ctx, func(ctx context.Context) error {
		s, err = n.js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			s, err = n.replicated(ctx, want)
			return err
		}
		if err != nil {
			return err
		}
		have := s.CachedInfo().Config
		if have.MaxAge == want.MaxAge && have.SubjectDeleteMarkerTTL == want.SubjectDeleteMarkerTTL && have.Replicas >= n.copies() {
			return nil
		}
		s, err = n.replicated(ctx, want)
		return err
	})
	return s, err
}

// copies returns how many the cluster should keep.
func (n *NATS) copies() int {
	if n.nc.ConnectedClusterName() == "" {
		return 1
	}
	return 3
}

func (n *NATS) replicated(ctx context.Context, want jetstream.StreamConfig) (s jetstream.Stream, err error) {
	for want.Replicas = n.copies(); ; want.Replicas-- {
		s, err = n.js.CreateOrUpdateStream(ctx, want)
		if want.Replicas == 1 || !errors.Is(translate(err), errTooFewServer) {
			return s, err
		}
	}
}
