package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// tryTime is how long one attempt may wait for an answer, which fails to come while the leader of what it asks for
// moves from one server to another.
const tryTime = 2 * time.Second

// retry calls fn until it succeeds, fails for good, or ctx ends. Each attempt has a context of its own, which ends when
// the connection was lost and came back: an answer to what was asked before will not come.
func (n *NATS) retry(ctx context.Context, fn func(ctx context.Context) error) error {
	wait := newBackoff()
	for {
		err := n.try(ctx, fn)
		if err == nil {
			return nil
		}
		err = translate(err)
		if !passing(err) {
			return err
		}
		if broken := n.broken(); broken != nil {
			return broken
		}
		if end := wait.sleep(ctx); end != nil {
			if errors.Is(err, end) {
				return err
			}
			return fmt.Errorf("%w: last attempt: %w", end, err)
		}
	}
}

func (n *NATS) try(ctx context.Context, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	ctx, stop := n.untilReconnect(ctx)
	defer stop()
	return fn(ctx)
}

// apiErrors gives the meaning of the codes of JetStream's errors.json that this package cares for.
var apiErrors = map[jetstream.ErrorCode]error{
	10002: ErrFull,         // resource limits exceeded for account
	10023: ErrFull,         // insufficient resources
	10047: ErrFull,         // insufficient storage resources available
	10077: ErrFull,         // the store failed, for one because its limit or the disk is reached
	10037: ErrNotFound,     // no message found
	10054: ErrTooLarge,     // message size exceeds maximum allowed
	10071: ErrConflict,     // wrong last sequence: {seq}
	10008: errPassing,      // JetStream system temporarily unavailable
	10009: errPassing,      // not the leader
	10059: errPassing,      // stream not found, until somebody opens bucket or store again
	10076: errPassing,      // JetStream not enabled, which it says while it starts, too
	10118: errPassing,      // stream is offline
	10158: errPassing,      // duplicate message id is in process
	10164: errPassing,      // wrong last sequence, meaning that another write of the key is in process
	10194: errPassing,      // stream is offline: {err}
	10005: errTooFewServer, // no suitable peers for placement
	10074: errTooFewServer, // replicas > 1 not supported in non-clustered mode
}

var (
	errPassing      = errors.New("the servers of the bus are not ready")
	errTooFewServer = errors.New("the bus has too few servers")
)

// translate puts errors of the client library into this package's words.
func translate(err error) error {
	var api jetstream.JetStreamError
	switch {
	case errors.As(err, &api) && api.APIError() != nil:
		if ours, ok := apiErrors[api.APIError().ErrorCode]; ok {
			return fmt.Errorf("%w (%s)", ours, api.APIError().Description)
		}
	case errors.Is(err, nats.ErrMaxPayload):
		return ErrTooLarge
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrConnectionClosed):
		return ErrClosed
	case isAny(err, nats.ErrReconnectBufExceeded, nats.ErrDisconnected, nats.ErrConnectionReconnecting), writeFailed(err):
		return ErrDisconnected
	case isAny(err, nats.ErrNoResponders, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("%w: none answers, is JetStream enabled?", errPassing)
	}
	return err
}

// writeFailed says that the connection broke under a message, before the client library noticed.
func writeFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "write"
}

// passing says that the same may succeed later.
func passing(err error) bool {
	return isAny(err, errPassing, ErrDisconnected, context.Canceled, context.DeadlineExceeded, nats.ErrTimeout)
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}

// backoff waits longer from time to time, a random part of it so that many do not come back at once.
type backoff struct{ wait time.Duration }

func newBackoff() *backoff { return &backoff{wait: 20 * time.Millisecond} }

// sleep waits or returns why ctx ended.
func (b *backoff) sleep(ctx context.Context) error {
	timer := time.NewTimer(b.wait/2 + rand.N(b.wait))
	defer timer.Stop()
	b.wait = min(2*b.wait, time.Second)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ctx.Err()
	}
}
