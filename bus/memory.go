package bus

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// maxPending is how many messages may wait for a subscriber before further ones are dropped.
const maxPending = 4096

// Memory is a connection to a bus within one process, for servers without a cluster and for tests. Time passes by
// package time alone, so that testing/synctest can move it.
type Memory struct {
	hub     *memoryHub
	closed  chan struct{}
	dropped uint64 // under the hub's lock
}

var _ Bus = (*Memory)(nil)

// memoryHub is what the connections share.
type memoryHub struct {
	mu      sync.Mutex
	subs    map[*memorySub]bool
	buckets map[string]*memoryValues
	objects map[string]map[string][]byte // content by store and digest
}

// NewMemory returns a connection to a new, empty bus.
func NewMemory() *Memory {
	return &Memory{closed: make(chan struct{}), hub: &memoryHub{
		subs: map[*memorySub]bool{}, buckets: map[string]*memoryValues{}, objects: map[string]map[string][]byte{},
	}}
}

// Connect returns another connection to the same bus. Each is closed by itself.
func (m *Memory) Connect() *Memory { return &Memory{closed: make(chan struct{}), hub: m.hub} }

// memorySub is a subscription. Its goroutine ends when stopped or its connection is closed.
type memorySub struct {
	conn    *Memory
	pattern string
	queue   chan Message
	stopped chan struct{}
}

func (s *memorySub) run(fn func(Message)) {
	for {
		select {
		case <-s.stopped:
			return
		case <-s.conn.closed:
			return
		default: // an end comes before messages that wait
		}
		select {
		case <-s.stopped:
			return
		case <-s.conn.closed:
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
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return 0, fmt.Errorf("publish to %s: %w", subject, err)
	}
	msg := Message{Subject: subject, Data: bytes.Clone(data), respond: respond}
	n := 0
	for s := range m.hub.subs {
		if !matches(s.pattern, subject) {
			continue
		}
		n++
		select {
		case s.queue <- msg:
		default:
			s.conn.dropped++
		}
	}
	return n, nil
}

// Subscribe implements Bus.
func (m *Memory) Subscribe(ctx context.Context, pattern string, fn func(Message)) (stop func(), err error) {
	if err := checkPattern(pattern); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", pattern, err)
	}
	s := &memorySub{conn: m, pattern: pattern, queue: make(chan Message, maxPending), stopped: make(chan struct{})}
	m.hub.subs[s] = true
	go s.run(fn)
	return sync.OnceFunc(func() {
		close(s.stopped)
		m.hub.mu.Lock()
		defer m.hub.mu.Unlock()
		delete(m.hub.subs, s)
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
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	v := m.hub.buckets[name]
	if v == nil {
		v = &memoryValues{hub: m.hub, values: map[string]memoryValue{}, watches: map[*memoryWatch]bool{}}
		v.timer = time.AfterFunc(time.Hour, v.timeUp)
		m.hub.buckets[name] = v
	}
	v.ttl = o.TTL
	v.expire()
	return &memoryBucket{conn: m, name: name, memoryValues: v}, nil
}

// Objects implements Bus.
func (m *Memory) Objects(ctx context.Context, name string) (Objects, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("objects: %w", err)
	}
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, fmt.Errorf("objects %s: %w", name, err)
	}
	if m.hub.objects[name] == nil {
		m.hub.objects[name] = map[string][]byte{}
	}
	return &memoryObjects{conn: m, name: name, content: m.hub.objects[name]}, nil
}

// Status implements Bus.
func (m *Memory) Status() Status {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	return Status{Connected: m.ready(context.Background()) == nil, Dropped: m.dropped}
}

// Close implements Bus. What is kept stays for other connections.
func (m *Memory) Close() error {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	if m.ready(context.Background()) == nil {
		close(m.closed)
	}
	maps.DeleteFunc(m.hub.subs, func(s *memorySub, _ bool) bool { return s.conn == m })
	return nil
}
