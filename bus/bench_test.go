package bus_test

import (
	"bytes"
	"io"
	"testing"

	"weft/bus"
)

// benchEmbedded opens an embedded server and a connection to it over loopback.
func benchEmbedded(b *testing.B) *bus.NATS {
	b.Helper()
	e, err := bus.Embed(b.Context(), bus.EmbedOptions{Listen: "127.0.0.1:0", StateDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	n, err := bus.Dial(b.Context(), []string{e.URL()}, bus.DialOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { n.Close(); e.Close() })
	return n
}

func BenchmarkRequest(b *testing.B) {
	n := benchEmbedded(b)
	if _, err := n.Subscribe(b.Context(), "s", func(m bus.Message) { m.Respond(m.Data) }); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := n.Request(b.Context(), "s", nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	n := benchEmbedded(b)
	bucket, err := n.Bucket(b.Context(), "b", bus.BucketOptions{})
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 1024)
	for b.Loop() {
		if _, err := bucket.Put(b.Context(), "k", value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkObject(b *testing.B) {
	n := benchEmbedded(b)
	store, err := n.Objects(b.Context(), "o")
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 32<<20)
	b.SetBytes(int64(len(data)))
	b.Run("put", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for i := 0; b.Loop(); i++ {
			data[0], data[1] = byte(i), byte(i>>8) // another content each time
			o, err := store.Put(b.Context(), bytes.NewReader(data))
			if err != nil {
				b.Fatal(err)
			}
			if err := store.Delete(b.Context(), o.Digest); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		o, err := store.Put(b.Context(), bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			r, err := store.Get(b.Context(), o.Digest)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
