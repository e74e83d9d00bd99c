package serve

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// Repository is where a Server finds models to load.
type Repository interface {
	// Names returns the names that Open knows.
	Names() []string
	// Open reads the model of that name as it is now.
	Open(ctx context.Context, name string) (Model, error)
}

// State is that of a model in the index.
type State string

// The states of a model.
const (
	StateReady       State = "READY"
	StateUnavailable State = "UNAVAILABLE"
	StateLoading     State = "LOADING"
	StateUnloading   State = "UNLOADING"
)

// Entry is a model in the index of a Server.
type Entry struct {
	Name    string
	Version string // "" unless it is served
	State   State
	Reason  string // for the state, if there is one to give
}

// ErrUnknown refuses a model of which neither server nor repository knows.
var ErrUnknown = &Error{Code: Invalid, text: "the model is unknown: the repository's index lists the models"}

// errNoRepository refuses to load where there is nothing to load from.
var errNoRepository = &Error{Code: Invalid, text: "this server loads no models: its models are those that it was started with"}

// Index returns the models that are served, or could be, sorted by name.
func (s *Server) Index() []Entry {
	entries := make(map[string]Entry)
	if s.opt.Repository != nil {
		for _, name := range s.opt.Repository.Names() {
			entries[name] = Entry{Name: name, State: StateUnavailable, Reason: "not loaded"}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(entries, s.states)
	for name, r := range s.serving.Load().routers {
		e := Entry{Name: name, Version: r.model.Version, State: StateReady, Reason: s.states[name].Reason}
		if why := r.Unready(); why != "" {
			e.State, e.Reason = StateUnavailable, why
		}
		entries[name] = e
	}
	return slices.SortedFunc(maps.Values(entries), func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
}

// Load reads the model from the repository and serves it. A model of that name
// that is served already is replaced at once when the new one is ready: not a
// request is refused, and those that the old one has taken it answers. If the
// new one can not be read, the old one stays.
func (s *Server) Load(ctx context.Context, name string) error {
	repo := s.opt.Repository
	switch {
	case repo == nil:
		return errNoRepository
	case !slices.Contains(repo.Names(), name):
		return ErrUnknown
	}
	select {
	case s.loading <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.loading }()
	s.setState(Entry{Name: name, State: StateLoading})
	r, err := s.open(ctx, repo, name)
	if err != nil {
		s.setState(Entry{Name: name, State: StateUnavailable, Reason: err.Error()})
		s.metrics.loads.WithLabelValues(name, Failed.String()).Inc()
		return Errorf(Failed, "load model %s: %w", name, err)
	}
	old, err := s.swap(name, r)
	if err != nil {
		r.drain()
		return err
	}
	s.metrics.loads.WithLabelValues(name, OK.String()).Inc()
	s.opt.Log.Info("model loaded", slog.String("model", name), slog.Bool("replaced", old != nil))
	return nil
}

// open reads a model and has the workers run it.
func (s *Server) open(ctx context.Context, repo Repository, name string) (*Router, error) {
	m, err := repo.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	m.Name = name
	r, err := s.newRouter(m)
	if err != nil {
		if m.Close != nil {
			m.Close()
		}
		return nil, err
	}
	s.pool.start(r)
	<-r.started
	return r, nil
}

// Unload takes the model out of service. It returns at once; what the model
// has taken it answers.
func (s *Server) Unload(name string) error {
	if s.Router(name) == nil {
		for _, e := range s.Index() {
			if e.Name == name {
				return nil // unloaded already
			}
		}
		return ErrUnknown
	}
	_, err := s.swap(name, nil)
	if err == nil {
		s.opt.Log.Info("model unloaded", slog.String("model", name))
	}
	return err
}

// swap puts the router, which may be nil, into the place of the one that serves
// the model, and lets that one run dry.
func (s *Server) swap(name string, r *Router) (old *Router, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, ErrDraining
	}
	c := s.serving.Load()
	next := &catalog{routers: maps.Clone(c.routers)}
	old = next.routers[name]
	delete(next.routers, name)
	delete(s.states, name)
	if r != nil {
		next.routers[name] = r
	}
	next.names = slices.Sorted(maps.Keys(next.routers))
	s.serving.Store(next)
	s.changed()
	if old == nil {
		return nil, nil
	}
	if r == nil {
		s.states[name] = Entry{Name: name, State: StateUnloading}
	}
	s.retired = append(s.retired, old)
	old.drain()
	go s.forget(old)
	return old, nil
}

// forget waits until a retired router has ended.
func (s *Server) forget(r *Router) {
	<-r.stopped
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = slices.DeleteFunc(s.retired, func(o *Router) bool { return o == r })
	if name := r.model.Name; s.states[name].State == StateUnloading {
		s.states[name] = Entry{Name: name, State: StateUnavailable, Reason: "unloaded"}
	}
}

func (s *Server) setState(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[e.Name] = e
}
