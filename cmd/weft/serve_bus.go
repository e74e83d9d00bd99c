package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"weft/bundle"
	"weft/bus"
	"weft/remote"
	"weft/serve"
)

// clusterFlags say how a server finds workers on other machines.
type clusterFlags struct {
	busFlags
	listen, stateDir string
	lease            time.Duration

	bus bus.Bus // nil: the server has none but its own workers
}

func (c *clusterFlags) flags(f *pflag.FlagSet) {
	c.busFlags.flags(f, "take workers from the bus at these NATS servers, nats://HOST:PORT[,...]")
	f.StringVar(&c.listen, "bus-listen", "", "be the bus, on this address, and take workers from it (see weft worker)")
	f.StringVar(&c.stateDir, "state-dir", "", "folder in which --bus-listen keeps the registry and the bundles")
	f.DurationVar(&c.lease, "lease", remote.DefaultLease, "silence after which a worker elsewhere is lost")
}

// on reports whether there may be workers elsewhere.
func (c *clusterFlags) on() bool { return c.listen != "" || len(c.urls) > 0 }

func (c *clusterFlags) validate() error {
	switch {
	case c.listen != "" && len(c.urls) > 0:
		return usagef("--bus and --bus-listen: choose one, the bus is here or elsewhere")
	case (c.listen == "") != (c.stateDir == ""):
		return usagef("--bus-listen and --state-dir go together: give both or none")
	case c.lease < 20*time.Millisecond || c.lease > time.Minute:
		return usagef("--lease %v: choose 20ms to 1m", c.lease)
	}
	return c.busFlags.validate()
}

// clusterAttempts bounds how many workers a request may lose. Workers that are merely slow are taken for lost now and
// then, so it is the deadline that is to end the attempts; the bound is for a request that kills whoever runs it.
const clusterAttempts = 10

// attempts is the bound for the scheduler, 0 for its own.
func (c *clusterFlags) attempts() int {
	if c.on() {
		return clusterAttempts
	}
	return 0
}

// open starts the bus or connects to it.
func (c *clusterFlags) open(ctx context.Context, log *slog.Logger) (shut func(), err error) {
	switch {
	case c.listen != "":
		auth, err := c.auth()
		if err != nil {
			return nil, err
		}
		e, err := bus.Embed(ctx, bus.EmbedOptions{Listen: c.listen, StateDir: c.stateDir, Auth: auth, TLS: c.tls, Logger: log})
		if err != nil {
			return nil, err
		}
		log.Info("bus open", slog.String("url", e.URL()))
		c.bus = e
	case len(c.urls) > 0:
		if c.bus, err = c.dial(ctx, "weft serve", log); err != nil {
			return nil, err
		}
	default:
		return func() {}, nil
	}
	return func() { _ = c.bus.Close() }, nil // it keeps its state whatever Close says
}

// publish offers the model to workers elsewhere.
func (c *clusterFlags) publish(ctx context.Context, m *model) error {
	if c.bus == nil {
		return nil
	}
	_, err := remote.Publish(ctx, c.bus, m.Name, m.raw)
	return err
}

// measured waits for a worker that has measured the model.
func (c *clusterFlags) measured(ctx context.Context, m *model, log *slog.Logger) (*bundle.Profile, error) {
	log.Info("waiting for a worker to measure a model", slog.String("model", m.Name))
	return remote.AwaitProfile(ctx, c.bus, m.digest, func(worker, why string) {
		log.Warn("a worker can not run the model", slog.String("model", m.Name), slog.String("worker", worker), slog.String("reason", why))
	})
}

// follow has the server use the workers that the bus knows of, until stop is called.
func (c *clusterFlags) follow(s *serve.Server, names []string, log *slog.Logger) (stop func(), err error) {
	if c.bus == nil {
		return func() {}, nil
	}
	creds, err := c.credentials(false)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := remote.Keep(ctx, c.bus, names); err != nil {
			log.Warn("workers may hold models that are not served", slog.Any("error", err))
		}
	})
	all.Go(func() {
		if err := remote.Follow(ctx, c.bus, s, remote.FleetOptions{Lease: c.lease, Credentials: creds, Log: log}); err != nil {
			log.Error("no workers from the bus", slog.Any("error", err))
		}
	})
	return func() {
		end()
		all.Wait()
	}, nil
}

// routed is a model that workers elsewhere run.
func routed(m *model, p *bundle.Profile) (serve.Model, error) {
	space := m.Net.Space
	profile, err := serve.Profile(m.Bundle, p)
	return serve.Model{
		Name: m.Name, H: space.Input.H, W: space.Input.W, C: space.Input.C,
		Classes: space.Classes, ClassNames: m.ClassNames, Profile: profile,
	}, err
}

// crewName says how many workers there are.
func (c *clusterFlags) crewName(workers, threads int) string {
	switch own := fmt.Sprintf("%s of %s", count(workers, "worker"), count(threads, "thread")); {
	case !c.on():
		return own
	case workers == 0:
		return "workers from the bus"
	default:
		return own + " and those from the bus"
	}
}
