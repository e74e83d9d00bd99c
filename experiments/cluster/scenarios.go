package cluster

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"
)

var killed = scenario{
	name: "killed",
	note: "4 workers at half load; every 12 s one is killed and 3 s later replaced",
	run: func(ctx context.Context, r *run) error {
		w, err := r.serve(ctx, 4)
		if err != nil {
			return err
		}
		var events []event
		for i := range 5 {
			at := time.Duration(6+12*i) * time.Second
			events = append(events, event{at, func() error {
				w[i].Kill()
				return r.noticed(ctx, "a killed worker is noticed", 3)
			}}, event{at + 3*time.Second, func() error {
				p, err := r.Worker(fmt.Sprintf("next%d", i+1), r.server.Bus)
				if err != nil {
					return err
				}
				w = append(w, p)
				return r.noticed(ctx, "its successor runs batches", 4)
			}})
		}
		a, err := r.load(ctx, "whole", 0.5*4*largest, 64*time.Second, events...)
		if err != nil {
			return err
		}
		r.kept(a, 0.999)
		return nil
	},
}

var halved = scenario{
	name: "halved",
	note: "8 workers; 4 are killed at once, and the others carry the load in smaller subnets",
	run: func(ctx context.Context, r *run) error {
		w, err := r.serve(ctx, 8)
		if err != nil {
			return err
		}
		const half = 12 * time.Second
		a, err := r.load(ctx, "whole", 2.6*4*largest, 2*half, event{half, func() error {
			for _, p := range w[:4] {
				p.Kill()
			}
			return r.noticed(ctx, "the loss of four is noticed", 4)
		}})
		if err != nil {
			return err
		}
		before, after := a.Between(0, r.scaled(half)), a.Between(r.scaled(half), time.Hour)
		r.Parts = append(r.Parts, Part{"with 8 workers", before}, Part{"with 4 workers", after})
		r.kept(a, 0.999)
		r.claim("accuracy pays for it", fmt.Sprintf("below %.4f", before.Accuracy), fmt.Sprintf("%.4f", after.Accuracy), after.Accuracy < before.Accuracy)
		return nil
	},
}

var frozen = scenario{
	name: "frozen",
	note: "4 workers at half load; one is stopped (SIGSTOP) for 5 s, later one for 100 ms",
	run: func(ctx context.Context, r *run) error {
		w, err := r.serve(ctx, 4)
		if err != nil {
			return err
		}
		a, err := r.load(ctx, "whole", 0.5*4*largest, 16*time.Second,
			event{4 * time.Second, func() error {
				w[0].Freeze()
				return r.noticed(ctx, "a frozen worker is noticed", 3)
			}},
			event{9 * time.Second, func() error {
				w[0].Thaw()
				return r.noticed(ctx, "it runs batches again", 4)
			}},
			event{12 * time.Second, func() error {
				w[1].Freeze()
				time.Sleep(100 * time.Millisecond)
				w[1].Thaw()
				return r.noticed(ctx, "one that was frozen for 100 ms runs batches again", 4)
			}})
		if err != nil {
			return err
		}
		r.kept(a, 0.995)
		return nil
	},
}

var cut = scenario{
	name: "cut",
	note: "2 workers here and 2 behind a network that is cut for 5 s, at half load",
	run: func(ctx context.Context, r *run) error {
		n, err := NewNetwork(ctx)
		if err != nil {
			r.Skipped = fmt.Sprintf("it needs root and ip netns: %v", err)
			return nil
		}
		defer n.Close()
		token, err := r.Token()
		if err != nil {
			return err
		}
		r.server, err = r.Serve(ctx, "--http", "127.0.0.1:0", "--bus-listen", n.Here+":0", "--bus-token", token,
			"--state-dir", filepath.Join(r.Dir, "state"), "--lease", lease.String())
		if err != nil {
			return err
		}
		for i := range 2 {
			if _, err := r.Worker(fmt.Sprintf("near%d", i+1), r.server.Bus, "--bus-token", token); err != nil {
				return err
			}
			if _, err := r.WorkerIn(n.Prefix(), fmt.Sprintf("far%d", i+1), r.server.Bus, "--bus-token", token, "--listen", "0.0.0.0:0", "--insecure"); err != nil {
				return err
			}
		}
		if err := r.server.Ready(ctx, 4); err != nil {
			return err
		}
		a, err := r.load(ctx, "whole", 0.5*4*largest, 16*time.Second,
			event{4 * time.Second, func() error {
				if err := n.Cut(ctx); err != nil {
					return err
				}
				return r.noticed(ctx, "the cut is noticed", 2)
			}},
			event{9 * time.Second, func() error {
				if err := n.Mend(ctx); err != nil {
					return err
				}
				return r.noticed(ctx, "the workers behind it run batches again", 4)
			}})
		if err != nil {
			return err
		}
		r.kept(a, 0.995)
		return nil
	},
}

var threeBuses = scenario{
	name: "three-buses",
	note: "a bus of three servers loses one; then a worker joins, and the lost server comes back",
	run: func(ctx context.Context, r *run) error {
		buses, urls, err := r.startBuses(ctx)
		if err != nil {
			return err
		}
		if r.server, err = r.Serve(ctx, "--http", "127.0.0.1:0", "--bus", urls, "--lease", lease.String()); err != nil {
			return err
		}
		if _, err := r.Workers(urls, 3); err != nil {
			return err
		}
		if err := r.server.Ready(ctx, 3); err != nil {
			return err
		}
		a, err := r.load(ctx, "whole", 0.5*3*largest, 20*time.Second,
			event{4 * time.Second, func() error {
				buses[0].process.Kill()
				return nil
			}},
			event{6 * time.Second, func() error {
				if _, err := r.Worker("late", urls); err != nil {
					return err
				}
				return r.noticed(ctx, "a worker joins by the two servers that are left", 4)
			}},
			event{14 * time.Second, func() error {
				return r.startBus(buses[0])
			}})
		if err != nil {
			return err
		}
		r.kept(a, 0.999)
		return nil
	},
}

// busServer is one of three.
type busServer struct {
	name    string
	args    []string
	process *Process
}

// startBuses starts three that know each other.
func (r *run) startBuses(ctx context.Context) (all []*busServer, urls string, err error) {
	var clients, routes []string
	for range 3 {
		a, err := freeAddress(ctx)
		if err != nil {
			return nil, "", err
		}
		b, err := freeAddress(ctx)
		if err != nil {
			return nil, "", err
		}
		clients, routes = append(clients, "nats://"+a), append(routes, "nats://"+b)
	}
	for i := range clients {
		name := fmt.Sprintf("bus%d", i+1)
		b := &busServer{name: name, args: []string{
			"bus", "--state-dir", filepath.Join(r.Dir, name), "--listen", clients[i][len("nats://"):],
			"--cluster", "weft", "--name", name, "--cluster-listen", routes[i][len("nats://"):], "--routes", strings.Join(routes, ","),
		}}
		if err := r.startBus(b); err != nil {
			return nil, "", err
		}
		all = append(all, b)
	}
	for _, b := range all {
		if _, err := b.process.Await(ctx, `Bus on`); err != nil {
			return nil, "", err
		}
	}
	return all, strings.Join(clients, ","), nil
}

func (r *run) startBus(b *busServer) (err error) {
	b.process, err = r.start(b.name, nil, b.args...)
	return err
}

var restarted = scenario{
	name: "restarted",
	note: "the router, which is its own bus, is killed and started again; its 4 workers run on",
	run: func(ctx context.Context, r *run) error {
		if _, err := r.serve(ctx, 4); err != nil {
			return err
		}
		before, err := r.load(ctx, "before", 0.5*4*largest, 5*time.Second)
		if err != nil {
			return err
		}
		r.server.Kill()
		bus := r.server.Bus[len("nats://"):]
		begun := time.Now()
		r.server, err = r.Serve(ctx, "--http", r.server.URL[len("http://"):], "--bus-listen", bus, "--state-dir", filepath.Join(r.Dir, "state"),
			"--lease", lease.String())
		if err != nil {
			return err
		}
		if err := r.server.Ready(ctx, 4); err != nil {
			return err
		}
		r.Times = append(r.Times, Timing{"the new router has its 4 workers", float64(time.Since(begun).Milliseconds())})
		after, err := r.load(ctx, "after", 0.5*4*largest, 5*time.Second)
		if err != nil {
			return err
		}
		r.kept(before, 0.999)
		r.kept(after, 0.999)
		return nil
	},
}

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}
