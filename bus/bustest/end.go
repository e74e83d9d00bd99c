package bustest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"weft/bus"
)

// end tests what is left after Close, and operations whose context is over.
func end(t *testing.T, f Fixture) {
	ctx, b := within(t), f.Connect(t)
	bucket, err := b.Bucket(ctx, "last", bus.BucketOptions{})
	must(t, err)
	store, err := b.Objects(ctx, "last")
	must(t, err)
	put, err := store.Put(ctx, bytes.NewReader([]byte("content")))
	must(t, err)
	stop, err := b.Subscribe(ctx, "last", func(bus.Message) {})
	must(t, err)
	if s := b.Status(); !s.Connected || s.Dropped != 0 || s.Reconnects != 0 {
		t.Errorf("status %+v, want connected", s)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	all := func(ctx context.Context) map[string]error {
		_, e1 := b.Request(ctx, "last", nil)
		_, e2 := b.Bucket(ctx, "last", bus.BucketOptions{})
		_, e3 := b.Objects(ctx, "last")
		_, e4 := bucket.Get(ctx, "k")
		_, e5 := bucket.Put(ctx, "k", nil)
		_, e6 := bucket.Keys(ctx, "")
		_, e7 := store.Has(ctx, put.Digest)
		_, e8 := store.Put(ctx, bytes.NewReader([]byte("more")))
		_, e9 := store.List(ctx)
		_, e10 := bucket.Create(ctx, "new", nil)
		return map[string]error{
			"publish": b.Publish(ctx, "last", nil), "request": e1, "bucket": e2, "objects": e3, "get": e4, "put": e5,
			"keys": e6, "has": e7, "put object": e8, "list": e9, "create": e10, "delete": bucket.Delete(ctx, "k"),
			"delete object": store.Delete(ctx, put.Digest),
		}
	}
	for what, err := range all(over) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s after the context's end: %v", what, err)
		}
	}
	must(t, b.Close())
	must(t, b.Close())
	stop()
	for what, err := range all(ctx) {
		if !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%s after close: %v, want ErrClosed", what, err)
		}
	}
	if _, err := bucket.Watch(ctx, ""); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("watch after close: %v, want ErrClosed", err)
	}
	if _, err := b.Subscribe(ctx, "last", func(bus.Message) {}); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("subscribe after close: %v, want ErrClosed", err)
	}
	if b.Status().Connected {
		t.Error("connected after close")
	}
}
