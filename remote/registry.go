package remote

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"weft/bundle"
	"weft/bus"
)

// Where the bus keeps what routers and workers know of each other.
const (
	workersBucket = "workers" // Entry by id, for as long as the worker renews it
	modelsBucket  = "models"  // announcement by name
	bundlesStore  = "bundles" // files by digest
)

// Registration is how long a worker stays in the registry that does not renew its entry.
const Registration = 10 * time.Second

// Entry is a worker in the registry. Its key is ID.
type Entry struct {
	ID      string         `json:"id"`
	Address string         `json:"address"` // of its gRPC server, HOST:PORT as routers reach it
	Token   string         `json:"token"`   // that a router must show there
	Slots   int            `json:"slots"`   // batches at a time
	Machine bundle.Machine `json:"machine"`
	Build   string         `json:"build"` // version of weft
	Leaving bool           `json:"leaving,omitempty"`
	Models  []Held         `json:"models"`
}

// Held is a model that a worker has fetched, or tried to.
type Held struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	// Error says why the worker does not run it; "": it does.
	Error string `json:"error,omitempty"`
	// Subnets are the latencies that the worker measured.
	Subnets []bundle.SubnetTiming `json:"subnets,omitempty"`
}

// held returns the model of that digest if the worker runs it, or nil.
func (e *Entry) held(digest string) *Held {
	for i := range e.Models {
		if m := &e.Models[i]; m.Digest == digest && m.Error == "" {
			return m
		}
	}
	return nil
}

// announcement tells workers of a model.
type announcement struct {
	Name   string `json:"name"`
	Digest string `json:"digest"` // of its bundle
	Bytes  int64  `json:"bytes"`
}

// modelKey is the key of a model, whose name may have letters that keys may not.
func modelKey(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

func workers(ctx context.Context, b bus.Bus) (bus.Bucket, error) {
	return b.Bucket(ctx, workersBucket, bus.BucketOptions{TTL: Registration})
}

func models(ctx context.Context, b bus.Bus) (bus.Bucket, error) {
	return b.Bucket(ctx, modelsBucket, bus.BucketOptions{})
}

// Publish puts a bundle into the object store and tells the workers to run it under that
// name, in place of what had the name before. It returns the bundle's digest.
func Publish(ctx context.Context, b bus.Bus, name string, raw []byte) (digest string, err error) {
	store, err := b.Objects(ctx, bundlesStore)
	if err != nil {
		return "", err
	}
	o, err := store.Put(ctx, bytes.NewReader(raw))
	if err != nil {
		return "", fmt.Errorf("publish model %s: %w", name, err)
	}
	known, err := models(ctx, b)
	if err != nil {
		return "", err
	}
	value, err := json.Marshal(announcement{Name: name, Digest: o.Digest, Bytes: o.Size})
	if err != nil {
		return "", err
	}
	if _, err = known.Put(ctx, modelKey(name), value); err != nil {
		return "", fmt.Errorf("announce model %s: %w", name, err)
	}
	return o.Digest, nil
}

// Keep withdraws all models but those of these names, which workers then forget, and
// deletes the bundles that nobody needs any more.
func Keep(ctx context.Context, b bus.Bus, names []string) error {
	known, err := models(ctx, b)
	if err != nil {
		return err
	}
	keys, err := known.Keys(ctx, "")
	if err != nil {
		return err
	}
	needed := map[string]bool{} // by digest
	for _, key := range keys {
		e, err := known.Get(ctx, key)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		var a announcement
		if json.Unmarshal(e.Value, &a) == nil && slices.Contains(names, a.Name) {
			needed[a.Digest] = true
		} else if err := known.Delete(ctx, key); err != nil {
			return fmt.Errorf("withdraw a model: %w", err)
		}
	}
	store, err := b.Objects(ctx, bundlesStore)
	if err != nil {
		return err
	}
	all, err := store.List(ctx)
	for _, o := range all {
		if !needed[o.Digest] && err == nil {
			err = store.Delete(ctx, o.Digest)
		}
	}
	return err
}

// AwaitProfile waits until a worker has reported how long the subnets of the bundle with
// that digest take on it, and returns what the first one to do so reports. explain, which
// may be nil, is called with the reason of each worker that can't run it.
func AwaitProfile(ctx context.Context, b bus.Bus, digest string, explain func(worker, why string)) (*bundle.Profile, error) {
	bucket, err := workers(ctx, b)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	changes, err := bucket.Watch(ctx, "")
	if err != nil {
		return nil, err
	}
	for c := range changes {
		var e Entry
		if c.Kind != bus.Put || json.Unmarshal(c.Value, &e) != nil {
			continue
		}
		if m := e.held(digest); m != nil && !e.Leaving {
			return &bundle.Profile{Digest: digest, Machine: e.Machine, Subnets: m.Subnets}, nil
		}
		for _, m := range e.Models {
			if m.Digest == digest && m.Error != "" && explain != nil {
				explain(e.ID, m.Error)
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, bus.ErrClosed
}
