package bus

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"
)

// maxPending is how many messages may wait for a subscriber before further ones are dropped.
const maxPending = 4096

// Memory is a bus within one process, for servers without a cluster and for tests. Its parts share one Memory. Time
// passes by package time alone, so that testing/synctest can move it.
type Memory struct {
	mu      sync.Mutex
	subs    map[*memorySub]bool
	buckets map[string]*memoryBucket
	objects map[string]*memoryObjects
	dropped uint64
	closed  chan struct{}
}

var _ Bus = (*Memory)(nil)

// NewMemory returns an empty bus.
func NewMemory() *Memory {
	return &Memory{
		subs: map[*memorySub]bool{}, buckets: map[string]*memoryBucket{}, objects: map[string]*memoryObjects{},
		closed: make(chan struct{}),
	}
}

// memorySub is a subscription. Its goroutine ends when stopped or the bus is closed.
type memorySub struct {
	pattern string
	queue   chan Message
	stopped chan struct{}
}

func (s *memorySub) run(closed <-chan struct{}, fn func(Message)) {
	for {
		select {
		case <-s.stopped:
			return
		case <-closed:
			return
		default: // an end comes before messages that wait
		}
		select {
		case <-s.stopped:
			return
		case <-closed:
			return
		case m := <-s.queue:
			fn(m)
		}
	}
}

// ready returns why an operation can't begin. Locked.
func (m *Memory) ready(ctx context.Context) error {
	select {
	case <-m.closed:
		return ErrClosed
	default:
		return ctx.Err()
	}
}

// Publish implements Bus.
func (m *Memory) Publish(ctx context.Context, subject string, data []byte) error {
	_, err := m.publish(ctx, subject, data, nil)
	return err
}

// publish hands a message to its subscribers and returns their number.
func (m *Memory) publish(ctx context.Context, subject string, data []byte, respond func([]byte) error) (int, error) {
	if err := checkSubject(subject); err != nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	if err := checkSize(data); err != nil {
		return 0, fmt.Errorf("publish to %s: %w", subject, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return 0, fmt.Errorf("publish to %s: %w", subject, err)
	}
	msg := Message{Subject: subject, Data: bytes.Clone(data), respond: respond}
	n := 0
	for s := range m.subs {
		if !matches(s.pattern, subject) {
			continue
		}
		n++
		select {
		case s.queue <- msg:
		default:
			m.dropped++
		}
	}
	return n, nil
}

// Subscribe implements Bus.
func (m *Memory) Subscribe(ctx context.Context, pattern string, fn func(Message)) (stop func(), err error) {
	if err := checkPattern(pattern); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", pattern, err)
	}
	s := &memorySub{pattern: pattern, queue: make(chan Message, maxPending), stopped: make(chan struct{})}
	m.subs[s] = true
	go s.run(m.closed, fn)
	return sync.OnceFunc(func() {
		close(s.stopped)
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subs, s)
	}), nil
}

// Request implements Bus.
func (m *Memory) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	answers := make(chan []byte, 1)
	respond := func(data []byte) error {
		if err := checkSize(data); err != nil {
			return fmt.Errorf("respond on %s: %w", subject, err)
		}
		select {
		case answers <- bytes.Clone(data):
		default: // not the first
		}
		return nil
	}
	n, err := m.publish(ctx, subject, data, respond)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("request on %s: %w", subject, ErrNoResponder)
	}
	select {
	case answer := <-answers:
		return answer, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("request on %s: %w", subject, ctx.Err())
	case <-m.closed:
		return nil, fmt.Errorf("request on %s: %w", subject, ErrClosed)
	}
}

// Bucket implements Bus.
func (m *Memory) Bucket(ctx context.Context, name string, o BucketOptions) (Bucket, error) {
	if err := checkBucket(name, o); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	b := m.buckets[name]
	if b == nil {
		b = &memoryBucket{bus: m, name: name, values: map[string]memoryValue{}, watches: map[*memoryWatch]bool{}}
		b.timer = time.AfterFunc(time.Hour, b.expire)
		m.buckets[name] = b
	}
	b.ttl = o.TTL
	b.expireLocked()
	return b, nil
}

// Objects implements Bus.
func (m *Memory) Objects(ctx context.Context, name string) (Objects, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("objects: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, fmt.Errorf("objects %s: %w", name, err)
	}
	if m.objects[name] == nil {
		m.objects[name] = &memoryObjects{bus: m, name: name, content: map[string][]byte{}}
	}
	return m.objects[name], nil
}

// Status implements Bus.
func (m *Memory) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Status{Connected: m.ready(context.Background()) == nil, Dropped: m.dropped}
}

// Close implements Bus. What was kept is forgotten.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ready(context.Background()) != nil {
		return nil
	}
	close(m.closed)
	for _, b := range m.buckets {
		b.timer.Stop()
	}
	clear(m.subs)
	return nil
}
