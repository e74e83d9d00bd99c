package bus

import (
	"bytes"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Damage changes what is kept under a digest.
func (m *Memory) Damage(t *testing.T, store, digest string, lose bool) {
	t.Helper()
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	data := bytes.Clone(m.hub.objects[store][digest])
	if lose {
		data = data[:len(data)/2]
	} else {
		data[len(data)/2] ^= 1
	}
	m.hub.objects[store][digest] = data
}

// Damage replaces the last chunk of an object or removes it.
func (n *NATS) Damage(t *testing.T, store, digest string, lose bool) {
	t.Helper()
	s, err := n.js.Stream(t.Context(), "OBJ_"+store)
	if err != nil {
		t.Fatal(err)
	}
	o := &natsObjects{bus: n, name: store, stream: s}
	info, err := o.describe(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.GetLastMsgForSubject(t.Context(), o.chunks(info.NUID))
	if err == nil {
		err = s.Purge(t.Context(), jetstream.WithPurgeSubject(o.chunks(info.NUID)), jetstream.WithPurgeSequence(last.Sequence+1))
	}
	if err != nil {
		t.Fatal(err)
	}
	// All chunks are gone; put other ones in their place.
	for range info.Chunks {
		if lose {
			return
		}
		if err := o.publish(t.Context(), o.chunks(info.NUID), last.Data, nats.Header{}); err != nil {
			t.Fatal(err)
		}
	}
}

// Replicas returns how many servers keep a stream.
func (n *NATS) Replicas(t *testing.T, stream string) int { return n.info(t, stream).Config.Replicas }

// Leader returns the name of the server that leads a stream.
func (n *NATS) Leader(t *testing.T, stream string) string { return n.info(t, stream).Cluster.Leader }

func (n *NATS) info(t *testing.T, stream string) *jetstream.StreamInfo {
	t.Helper()
	s, err := n.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo()
}
