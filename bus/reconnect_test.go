package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/bus"
)

// A lost answer must not make Create say that somebody else was first, nor Update that somebody came between.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	e := embed(t, bus.EmbedOptions{Listen: "127.0.0.1:0", StateDir: t.TempDir()})
	direct, err := e.Bucket(t.Context(), "b", bus.BucketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, e.URL())
	n := dial(t, p.url, bus.DialOptions{})
	defer n.Close()
	bucket, err := n.Bucket(t.Context(), "b", bus.BucketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, write := range []func(context.Context) (uint64, error){
		func(ctx context.Context) (uint64, error) { return bucket.Create(ctx, "k", []byte("0")) },
		func(ctx context.Context) (uint64, error) { return bucket.Update(ctx, "k", []byte("1"), 1) },
		func(ctx context.Context) (uint64, error) { return bucket.Put(ctx, "k", []byte("2")) },
	} {
		p.set(true, false)
		go func() {
			eventually(t, "the write arrives", func() bool {
				got, err := direct.Get(t.Context(), "k")
				return err == nil && got.Value[0] == byte('0'+i)
			})
			p.set(false, false)
			p.cut()
		}()
		revision, err := write(t.Context())
		if err != nil || revision != uint64(i+1) {
			t.Errorf("write %d: revision %d, %v", i, revision, err)
		}
	}
	if s := n.Status(); s.Reconnects != 3 || !s.Connected {
		t.Errorf("status %+v, want 3 reconnections", s)
	}
}

// What was published, subscribed, watched and written across a loss of the connection.
func TestDisconnected(t *testing.T) {
	t.Parallel()
	e := embed(t, bus.EmbedOptions{Listen: "127.0.0.1:0", StateDir: t.TempDir()})
	p := newProxy(t, e.URL())
	n := dial(t, p.url, bus.DialOptions{})
	defer n.Close()
	ctx := t.Context()
	leases, err := n.Bucket(ctx, "leases", bus.BucketOptions{TTL: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Put(ctx, "k", nil); err != nil {
		t.Fatal(err)
	}
	changes, err := leases.Watch(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, changes, "put k", "current")
	heard := make(chan string, 10)
	if _, err := n.Subscribe(ctx, "s", func(m bus.Message) { heard <- string(m.Data) }); err != nil {
		t.Fatal(err)
	}
	p.set(false, true)
	p.cut()
	eventually(t, "the loss is noticed", func() bool { return !n.Status().Connected })
	if err := n.Publish(ctx, "s", nil); !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("publish: %v, want ErrDisconnected", err)
	}
	if _, err := n.Request(ctx, "s", nil); !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("request: %v, want ErrDisconnected", err)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err = leases.Put(short, "other", nil); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("put: %v, want both the context's end and the reason", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := leases.Put(ctx, "late", nil)
		done <- err
	}()
	time.Sleep(600 * time.Millisecond) // the lease ends meanwhile
	p.set(false, false)
	if err := <-done; err != nil {
		t.Errorf("a write that waited for the connection: %v", err)
	}
	expect(t, changes, "deleted k", "put late")
	eventually(t, "messages arrive again", func() bool { return n.Publish(ctx, "s", []byte("back")) == nil })
	if got := <-heard; got != "back" {
		t.Errorf("heard %q", got)
	}
}

// The server starts again: from its folder it knows everything, from an empty one nothing, and watches tell so.
func TestServerStartsAgain(t *testing.T) {
	t.Parallel()
	port := freePorts(t, 1)[0]
	o := bus.EmbedOptions{Listen: fmt.Sprintf("127.0.0.1:%d", port), StateDir: t.TempDir()}
	start := func() *bus.Embedded {
		e, err := bus.Embed(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := start()
	n := dial(t, e.URL(), bus.DialOptions{})
	defer n.Close()
	ctx := t.Context()
	bucket, err := n.Bucket(ctx, "b", bus.BucketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if _, err := bucket.Put(ctx, key, []byte("first")); err != nil {
			t.Fatal(err)
		}
	}
	store, err := n.Objects(ctx, "o")
	if err != nil {
		t.Fatal(err)
	}
	object, err := store.Put(ctx, strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := bucket.Watch(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, changes, "put a first", "put b first", "current")

	e.Close()
	e = start()
	if got, err := bucket.Get(ctx, "a"); err != nil || string(got.Value) != "first" {
		t.Errorf("after a restart: %v, %v", got, err)
	}
	if has, err := store.Has(ctx, object.Digest); !has || err != nil {
		t.Errorf("object after a restart: %v, %v", has, err)
	}
	if _, err := bucket.Put(ctx, "a", []byte("second")); err != nil {
		t.Error(err)
	}
	expect(t, changes, "put a second") // and nothing of what was told before

	e.Close()
	o.StateDir = t.TempDir()
	e = start()
	defer e.Close()
	fresh, err := e.Bucket(ctx, "b", bus.BucketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Put(ctx, "c", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Put(ctx, "b", []byte("other")); err != nil { // with the revision that it had before
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for len(seen) < 3 {
		seen[next(t, changes)] = true
	}
	for _, want := range []string{"deleted a", "put b other", "put c"} {
		if !seen[want] {
			t.Errorf("after the loss of everything the watch told %v, want %q", seen, want)
		}
	}
	if err := bucket.Delete(ctx, "c"); err != nil {
		t.Error(err)
	}
	expect(t, changes, "deleted c")
}

// expect takes changes from a watch and compares them.
func expect(t *testing.T, changes <-chan bus.Change, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := next(t, changes); got != w {
			t.Errorf("the watch tells %q, want %q", got, w)
		}
	}
}

func next(t *testing.T, changes <-chan bus.Change) string {
	t.Helper()
	select {
	case c := <-changes:
		return strings.TrimSpace(strings.Join([]string{c.Kind.String(), c.Key, string(c.Value)}, " "))
	case <-time.After(20 * time.Second):
		t.Fatal("the watch tells nothing")
	}
	return ""
}
