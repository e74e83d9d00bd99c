package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Sender sends one request and waits for its answer. It is called from many
// goroutines at once.
type Sender interface {
	// Send sends the i-th request of the trace, which must be answered within
	// left (0 or less: it is late already). It returns when the answer is there
	// or ctx ends. A refusal by the server is a Reply, not an error.
	Send(ctx context.Context, i int, left time.Duration) (Reply, error)
}

// Config of a run.
type Config struct {
	Arrivals []time.Duration // since the start, in order
	SLO      time.Duration   // deadline = arrival + SLO
	Sender   Sender
	// MaxInFlight bounds the requests under way (0: DefaultMaxInFlight). Those
	// that come on top are not sent and count as failures of the generator.
	MaxInFlight int
	// Patience is how long after its deadline an answer is waited for (0:
	// DefaultPatience).
	Patience time.Duration
	// Sleep pauses the generator; nil: as precisely as the system can. Give
	// time.Sleep where time is simulated.
	Sleep func(time.Duration)
	// Progress, if set, is called with the number of arrivals so far, from the
	// generator's goroutine: it must be quick.
	Progress func(arrived int)
}

// Defaults of Config.
const (
	DefaultMaxInFlight = 4096
	DefaultPatience    = 5 * time.Second
)

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case len(c.Arrivals) == 0:
		return errors.New("no arrivals: give a trace")
	case !slices.IsSorted(c.Arrivals):
		return errors.New("arrivals are out of order: sort them")
	case c.Sender == nil:
		return errors.New("no sender: say where requests go")
	case c.SLO <= 0:
		return fmt.Errorf("slo %v: give a duration above 0", c.SLO)
	}
	return nil
}

// Run sends each request at its time, whether or not earlier ones have been
// answered (open loop). Deadlines and latencies count from the intended time,
// so that a stall of the generator or the network shows in the figures instead
// of hiding arrivals (no coordinated omission). Requests that are due together
// go together.
//
// Run returns one outcome for each arrival, in their order. If ctx ends, it
// returns those so far with ctx's error.
func Run(ctx context.Context, c Config) ([]Outcome, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	if c.Sleep == nil {
		defer precise()()
		c.Sleep = nap
	}
	g := &generator{Config: c, start: time.Now(), inFlight: make(chan struct{}, c.MaxInFlight)}
	outcomes := make([]Outcome, len(c.Arrivals))
	arrived := 0
	for i, at := range c.Arrivals {
		if !g.waitFor(ctx, at) {
			break
		}
		g.launch(ctx, i, &outcomes[i])
		arrived++
		if c.Progress != nil {
			c.Progress(arrived)
		}
	}
	g.senders.Wait()
	return outcomes[:arrived], ctx.Err()
}

type generator struct {
	Config
	start    time.Time
	inFlight chan struct{} // one element for each request under way
	senders  sync.WaitGroup
}

// coarse is the error that an ordinary timer may have; the rest is left to Sleep.
const coarse = 2 * time.Millisecond

// waitFor returns at that time since the start, or false when ctx has ended.
func (g *generator) waitFor(ctx context.Context, at time.Duration) bool {
	if left := at - time.Since(g.start); left > 2*coarse {
		select {
		case <-time.After(left - coarse):
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		left := at - time.Since(g.start)
		if left <= 0 {
			return true
		}
		g.Sleep(left)
	}
	return false
}

// launch sends the i-th request in a goroutine, which writes to o.
func (g *generator) launch(ctx context.Context, i int, o *Outcome) {
	at := g.Arrivals[i]
	now := time.Since(g.start)
	*o = Outcome{Intended: at, Sent: now, Finished: now, Deadline: at + g.SLO, Reply: Reply{Status: NotSent}}
	select {
	case g.inFlight <- struct{}{}:
	default:
		return
	}
	g.senders.Go(func() {
		g.send(ctx, i, o)
		<-g.inFlight
	})
}

func (g *generator) send(ctx context.Context, i int, o *Outcome) {
	ctx, cancel := context.WithDeadline(ctx, g.start.Add(o.Deadline+g.Patience))
	defer cancel()
	o.Sent = time.Since(g.start)
	reply, err := g.Sender.Send(ctx, i, o.Deadline-o.Sent)
	o.Finished = time.Since(g.start)
	o.Reply = reply
	if err != nil {
		o.Status, o.Err = Failed, err.Error()
	}
}
