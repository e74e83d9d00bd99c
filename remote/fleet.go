package remote

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"weft/bus"
	"weft/serve"
)

// DefaultLease is how long a worker may be silent before it is taken for lost.
const DefaultLease = 500 * time.Millisecond

// FleetOptions say how a router meets its workers. The zero value is useful.
type FleetOptions struct {
	// Lease is after how much silence a worker is lost (0: DefaultLease). It is asked for a
	// sign of life five times as often.
	Lease time.Duration
	// Credentials are those of the connections (nil: neither encrypted nor authenticated).
	Credentials credentials.TransportCredentials
	// Log receives what an operator must know (nil: nothing is logged).
	Log *slog.Logger
}

// fleet is the workers that the registry has, and the router's connections to them.
type fleet struct {
	server *serve.Server
	opt    FleetOptions
	router string // id of this router, new each time it starts
	all    sync.WaitGroup

	keepers map[string]*keeper // by the worker's id; only the watch touches it
}

// Follow attaches the workers that the registry of the bus has to the server, as they come
// and go, until ctx ends. Workers stay attached while the bus is down: batches do not pass
// through it.
func Follow(ctx context.Context, b bus.Bus, s *serve.Server, opt FleetOptions) error {
	if opt.Lease == 0 {
		opt.Lease = DefaultLease
	}
	if opt.Credentials == nil {
		opt.Credentials = insecure.NewCredentials()
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	var changes <-chan bus.Change
	bucket, err := workers(ctx, b)
	if err == nil {
		changes, err = bucket.Watch(ctx, "")
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // it was over before it began
	case err != nil:
		return fmt.Errorf("read the registry of workers: %w", err)
	}
	f := &fleet{server: s, opt: opt, router: rand.Text(), keepers: map[string]*keeper{}}
	defer f.all.Wait()
	for c := range changes {
		switch c.Kind {
		case bus.Put:
			f.put(ctx, c)
		case bus.Deleted:
			if k := f.keepers[c.Key]; k != nil {
				k.forget()
			}
			maps.DeleteFunc(f.keepers, func(_ string, k *keeper) bool { return k.ended() })
		}
	}
	return nil
}

// put takes notice of a worker's entry.
func (f *fleet) put(ctx context.Context, c bus.Change) {
	e := new(Entry)
	if err := json.Unmarshal(c.Value, e); err != nil || e.ID != c.Key || e.Slots < 1 || e.Slots > MaxSlots {
		f.opt.Log.Warn("the registry has an entry that is no worker's", slog.String("key", c.Key), slog.Any("error", err))
		return
	}
	k := f.keepers[e.ID]
	if k != nil && k.token != e.Token { // a new process goes by the id of an old one
		left := *e
		left.Leaving = true
		k.tell(&left)
		k.forget()
		k = nil
	}
	if k == nil {
		k = &keeper{fleet: f, id: e.ID, token: e.Token, kept: map[int]bool{}, changed: make(chan struct{})}
		f.keepers[e.ID] = k
	}
	k.tell(e)
	for i := range e.Slots {
		if k.claim(i) {
			f.all.Go(func() { k.keep(ctx, i) })
		}
	}
}

// keeper knows a worker's newest entry.
type keeper struct {
	*fleet
	id, token string

	mu      sync.Mutex // guards what follows
	entry   *Entry
	lost    bool         // the registry has it no more
	kept    map[int]bool // slots that have a goroutine
	changed chan struct{}
}

// tell replaces the entry.
func (k *keeper) tell(e *Entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.entry, k.lost = e, false
	close(k.changed)
	k.changed = make(chan struct{})
}

// forget takes notice that the registry has the worker no more. Links that it has stay: it
// may be the bus that is in trouble.
func (k *keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost = true
}

// look returns the entry, and a channel that is closed when there is another one.
func (k *keeper) look() (*Entry, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.entry, k.changed
}

// claim reports whether the slot needs a goroutine, which it then has.
func (k *keeper) claim(slot int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept[slot] {
		return false
	}
	k.kept[slot] = true
	return true
}

// release lets go of the slot once the registry has the worker no more.
func (k *keeper) release(slot int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lost {
		delete(k.kept, slot)
	}
	return k.lost
}

func (k *keeper) ended() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost && len(k.kept) == 0
}

// Pauses between attempts to reach a worker.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// keep keeps a link to the slot for as long as the worker is in the registry.
func (k *keeper) keep(ctx context.Context, slot int) {
	log := k.opt.Log.With(slog.String("worker", k.id), slog.Int("slot", slot))
	pause, said := firstPause, ""
	for ctx.Err() == nil && !k.release(slot) {
		e, changed := k.look()
		if !e.Leaving {
			begun := time.Now()
			err := k.attend(ctx, e, slot, log)
			if time.Since(begun) > lastPause {
				pause, said = firstPause, ""
			}
			if why := err.Error(); why != said && ctx.Err() == nil {
				log.Info("worker detached", slog.String("reason", why))
				said = why
			}
		}
		select {
		case <-time.After(pause):
		case <-changed:
		case <-ctx.Done():
		}
		pause = min(2*pause, lastPause)
	}
}
