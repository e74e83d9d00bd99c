package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"weft/bus"
	"weft/bus/bustest"
)

var secret = bus.DialOptions{Auth: bus.Credentials{User: "weft", Password: "secret"}}

func TestExternal(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; the embedded one is tested")
	}
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Fixture {
		server := startServers(t, 1)[0]
		damage := dial(t, server.url, secret)
		t.Cleanup(func() { damage.Close() })
		return bustest.Fixture{
			Connect: func(t *testing.T) bus.Bus { return dial(t, server.url, secret) },
			Damage:  damage.Damage,
		}
	})
}

// Keys, watches and objects go on while the server that leads them is killed, and know everything afterwards.
func TestClusterLosesItsLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers and waits for an election")
	}
	t.Parallel()
	servers := startServers(t, 3)
	urls := []string{servers[0].url, servers[1].url, servers[2].url}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	connect := func() *bus.NATS {
		n, err := bus.Dial(ctx, urls, secret)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		return n
	}
	writer, reader := connect(), connect()
	bucket, err := writer.Bucket(ctx, "workers", bus.BucketOptions{TTL: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	store, err := writer.Objects(ctx, "bundles")
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{"KV_workers", "OBJ_bundles"} {
		if n := writer.Replicas(t, stream); n != 3 {
			t.Errorf("%s is kept %d times, want 3", stream, n)
		}
	}
	content := bytes.Repeat([]byte("weights "), 1<<17)
	kept, err := store.Put(ctx, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	watched, err := reader.Bucket(ctx, "workers", bus.BucketOptions{TTL: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	changes, err := watched.Watch(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	// One key for each write: a lost one would be missed at the end.
	const before, after = 50, 150
	var written atomic.Int64
	failed := make(chan error, 1)
	go func() {
		for i := range before + after {
			if _, err := bucket.Create(ctx, fmt.Sprintf("w%d", i), nil); err != nil {
				failed <- fmt.Errorf("write %d: %w", i, err)
				return
			}
			written.Add(1)
			time.Sleep(5 * time.Millisecond)
		}
		failed <- nil
	}()
	eventually(t, "some writes", func() bool { return written.Load() >= before })
	leader := writer.Leader(t, "KV_workers")
	killed := time.Now()
	for i, s := range servers {
		if fmt.Sprintf("s%d", i) == leader {
			s.kill()
		}
	}
	second, err := store.Put(ctx, io.MultiReader(bytes.NewReader(content), bytes.NewReader(content)))
	if err != nil {
		t.Fatalf("put an object: %v", err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, which led the keys, was killed; object and %d keys were written %v later", leader, after, time.Since(killed).Round(time.Millisecond))
	seen := map[string]bool{}
	for len(seen) < before+after {
		select {
		case c := <-changes:
			if c.Kind == bus.Put {
				seen[c.Key] = true
			}
		case <-ctx.Done():
			t.Fatalf("the watch told of %d keys of %d", len(seen), before+after)
		}
	}
	others, err := reader.Objects(ctx, "bundles")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []bus.Object{kept, second} {
		r, err := others.Get(ctx, o.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); err != nil || n != o.Size {
			t.Errorf("an object of %d bytes came back with %d, %v", o.Size, n, err)
		}
	}
}
