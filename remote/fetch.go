package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"weft/atomicfile"
	"weft/bus"
)

// Pauses between attempts to get a model that can't be had.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// followModels fetches and loads the models that routers publish, one after the other.
func (w *worker) followModels(ctx context.Context) error {
	bucket, err := models(ctx, w.bus)
	if err != nil {
		return fmt.Errorf("read which models there are: %w", err)
	}
	changes, err := bucket.Watch(ctx, "")
	if err != nil {
		return fmt.Errorf("read which models there are: %w", err)
	}
	wanted := map[string]announcement{} // by key
	pause := firstRetry
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				return ctx.Err()
			}
			if !w.change(wanted, c) {
				continue
			}
			pause = firstRetry
		case <-retry.C:
		}
		if w.loadMissing(ctx, wanted) {
			continue
		}
		retry.Reset(pause)
		pause = min(2*pause, lastRetry)
	}
}

// change takes notice of a model that is published, which it reports, or withdrawn.
func (w *worker) change(wanted map[string]announcement, c bus.Change) (published bool) {
	switch c.Kind {
	case bus.Put:
		var a announcement
		if err := json.Unmarshal(c.Value, &a); err != nil || modelKey(a.Name) != c.Key {
			w.Log.Warn("the registry has an entry that is no model's", slog.String("key", c.Key), slog.Any("error", err))
			return false
		}
		wanted[c.Key] = a
		return true
	case bus.Deleted:
		if a, ok := wanted[c.Key]; ok {
			delete(wanted, c.Key)
			w.mu.Lock()
			delete(w.models, a.Name)
			w.mu.Unlock()
			notify(w.news)
		}
	}
	return false
}

// loadMissing loads what is wanted and not there, and reports whether all is there.
func (w *worker) loadMissing(ctx context.Context, wanted map[string]announcement) (all bool) {
	all = true
	for _, a := range wanted {
		w.mu.Lock()
		l := w.models[a.Name]
		w.mu.Unlock()
		if l != nil && l.held.Digest == a.Digest && l.model != nil {
			continue
		}
		l = w.load(ctx, a)
		if ctx.Err() != nil {
			return true
		}
		all = all && l.model != nil
		w.mu.Lock()
		w.models[a.Name] = l
		w.mu.Unlock()
		notify(w.news)
	}
	return all
}

// load fetches a model and measures it.
func (w *worker) load(ctx context.Context, a announcement) *loaded {
	l := &loaded{held: Held{Name: a.Name, Digest: a.Digest}}
	start := time.Now()
	path, raw, err := fetch(ctx, w.bus, w.Cache, a.Digest)
	if err == nil {
		l.model, l.held.Subnets, err = w.Load(ctx, a.Name, path, raw)
	}
	if err != nil {
		l.model, l.held.Error = nil, err.Error()
		w.Log.Error("model not loaded", slog.String("model", a.Name), slog.String("digest", a.Digest), slog.Any("error", err))
		return l
	}
	l.model.Digest = a.Digest
	w.Log.Info("model loaded", slog.String("model", a.Name), slog.String("digest", a.Digest), slog.Duration("took", time.Since(start)))
	return l
}

// fetch returns the bundle with that digest and its file, from the cache or the bus.
func fetch(ctx context.Context, b bus.Bus, cache, digest string) (path string, raw []byte, err error) {
	if sum, err := hex.DecodeString(digest); err != nil || len(sum) != sha256.Size {
		return "", nil, fmt.Errorf("digest %q is no SHA-256 in hexadecimal", digest)
	}
	path = filepath.Join(cache, digest+".weft")
	raw, err = os.ReadFile(path)
	if err == nil && digestOf(raw) == digest {
		return path, raw, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, err
	}
	store, err := b.Objects(ctx, bundlesStore)
	if err != nil {
		return "", nil, err
	}
	r, err := store.Get(ctx, digest)
	if err != nil {
		return "", nil, fmt.Errorf("fetch the bundle: %w", err)
	}
	defer r.Close()
	if raw, err = io.ReadAll(r); err != nil {
		return "", nil, fmt.Errorf("fetch the bundle: %w", err)
	}
	if got := digestOf(raw); got != digest {
		return "", nil, fmt.Errorf("the bus gives a bundle with digest %.12s for %.12s", got, digest)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", nil, err
	}
	return path, raw, atomicfile.Write(path, func(f io.Writer) error {
		_, err := f.Write(raw)
		return err
	})
}

func digestOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
