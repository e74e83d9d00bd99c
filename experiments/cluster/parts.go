package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Server is a router.
type Server struct {
	*Process
	URL string // of HTTP
	Bus string // its bus, "" if that is elsewhere
}

// Serve starts a router without workers of its own and returns once it listens, and has a bus if
// it is to have one. It serves only once a worker is there: see Ready.
func (l *Lab) Serve(ctx context.Context, args ...string) (*Server, error) {
	p, err := l.start("router", nil, append([]string{"serve", "--workers", "0", "--grpc", "", "--quiet"}, args...)...)
	if err != nil {
		return nil, err
	}
	s := &Server{Process: p}
	for i, a := range args {
		if a == "--bus-listen" {
			m, err := p.Await(ctx, `bus open.* url=(\S+)`)
			if err != nil {
				return nil, err
			}
			s.Bus = m[1]
		}
		if a == "--http" {
			s.URL = "http://" + args[i+1]
		}
	}
	return s, nil
}

// Ready waits until the router serves with so many workers.
func (s *Server) Ready(ctx context.Context, workers int) error {
	m, err := s.Await(ctx, `Serving \S+ on (http://\S+):`)
	if err != nil {
		return err
	}
	s.URL = m[1]
	return s.AwaitWorkers(ctx, workers)
}

// AwaitWorkers waits until the router has so many workers.
func (s *Server) AwaitWorkers(ctx context.Context, n int) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for {
		c, err := s.Counters(ctx)
		if err == nil && int(c.sum("weft_workers")) == n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the router has %v workers and not %d: %w", c.sum("weft_workers"), n, errors.Join(err, ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Counters are the metrics of a router by name and labels.
type Counters map[string]float64

var metricLine = regexp.MustCompile(`(?m)^([a-z_]+(?:\{[^}]*\})?) (\S+)$`)

// Counters reads the router's metrics.
func (s *Server) Counters(ctx context.Context) (Counters, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	c := Counters{}
	for _, m := range metricLine.FindAllStringSubmatch(string(text), -1) {
		if v, err := strconv.ParseFloat(m[2], 64); err == nil {
			c[m[1]] = v
		}
	}
	return c, nil
}

// sum adds up the metric over all its labels.
func (c Counters) sum(name string) (sum float64) {
	for k, v := range c {
		if k == name || strings.HasPrefix(k, name+"{") {
			sum += v
		}
	}
	return sum
}

// Worker starts a worker with one slot whose executor sleeps.
func (l *Lab) Worker(id, bus string, args ...string) (*Process, error) {
	return l.WorkerIn(nil, id, bus, args...)
}

// WorkerIn starts a worker by a command that comes before its own, such as ip netns exec.
func (l *Lab) WorkerIn(prefix []string, id, bus string, args ...string) (*Process, error) {
	line := append([]string{"worker", "--bus", bus, "--id", id, "--workers", "1", "--sleep", l.latencies, "--quiet"}, args...)
	return l.start(id, prefix, line...)
}

// Workers starts workers w1, w2 and so on.
func (l *Lab) Workers(bus string, n int) (all []*Process, err error) {
	for i := range n {
		w, err := l.Worker(fmt.Sprintf("w%d", i+1), bus)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// Token returns a file with a token for the bus.
func (l *Lab) Token() (path string, err error) {
	path = filepath.Join(l.Dir, "token")
	return path, os.WriteFile(path, []byte(rand.Text()), 0o600)
}

// Bus starts a bus by itself and returns its URL.
func (l *Lab) Bus(ctx context.Context, name string, args ...string) (p *Process, url string, err error) {
	p, err = l.start(name, nil, append([]string{"bus", "--state-dir", filepath.Join(l.Dir, name)}, args...)...)
	if err != nil {
		return nil, "", err
	}
	m, err := p.Await(ctx, `Bus on (\S+)`)
	if err != nil {
		return nil, "", err
	}
	return p, m[1], nil
}
