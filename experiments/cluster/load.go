package cluster

import (
	"context"
	"fmt"
	"time"

	"weft/bundle/builtin"
	"weft/oip"
	"weft/serve"
	"weft/workload"
)

// Account is what became of the requests of a load, as the client and the router count.
type Account struct {
	Sent     int `json:"sent"`
	Answered int `json:"answered"` // in time or late
	Late     int `json:"late"`     // of those
	Refused  int `json:"refused"`  // told that their deadline can't be met, or to come back
	Lost     int `json:"lost"`     // neither: an error, or nothing
	Twice    int `json:"twice"`    // answered more than once, by the router's own count
	Retried  int `json:"retried"`  // put into another batch because a worker was lost

	Attainment float64 `json:"attainment"` // answered in time, of those sent
	Accuracy   float64 `json:"accuracy"`   // mean, profiled, of those answered in time

	// Errors are the messages of lost requests with their number.
	Errors []workload.ErrorCount `json:"errors,omitempty"`

	outcomes []workload.Outcome
}

// Load sends requests of one image at a mean rate, in a Poisson process, and accounts for them.
func (s *Server) Load(ctx context.Context, rate float64, slo, length time.Duration, seed uint64) (*Account, error) {
	trace, err := workload.Parse(fmt.Sprintf("poisson:%g,for=%s", rate, length), seed)
	if err != nil {
		return nil, err
	}
	client, err := oip.Dial(s.URL, oip.ClientOptions{})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	names, err := client.Models(ctx)
	if err != nil {
		return nil, err
	}
	m, err := client.Model(ctx, names[0])
	if err != nil {
		return nil, err
	}
	images, _, err := builtin.Samples()
	if err != nil {
		return nil, err
	}
	before, err := s.Counters(ctx)
	if err != nil {
		return nil, err
	}
	outcomes, err := workload.Run(ctx, workload.Config{
		Arrivals: trace.Arrivals, SLO: slo, Sender: &sender{model: m, images: images, size: m.H * m.W * m.C},
	})
	if err != nil {
		return nil, err
	}
	after, err := s.Counters(ctx)
	if err != nil {
		return nil, err
	}
	a := account(outcomes)
	grown := func(name string) int { return int(after.sum(name) - before.sum(name)) }
	a.Twice = max(grown("weft_requests_total")-grown("weft_requests_received_total"), 0)
	a.Retried = grown("weft_retries_total")
	return a, nil
}

// String says it in a line.
func (a *Account) String() string {
	return fmt.Sprintf("%d sent, %d answered (%d late), %d refused, %d lost, %d answered twice, %d retried, attainment %.4f, accuracy %.4f",
		a.Sent, a.Answered, a.Late, a.Refused, a.Lost, a.Twice, a.Retried, a.Attainment, a.Accuracy)
}

// account counts outcomes as the client sees them.
func account(outcomes []workload.Outcome) *Account {
	sum := workload.Account(outcomes, 0)
	return &Account{
		Sent: sum.Sent, Answered: sum.Met + sum.Late, Late: sum.Late, Refused: sum.Dropped, Lost: sum.Failed,
		Attainment: sum.Attainment, Accuracy: sum.MeanAccuracy, Errors: sum.Errors, outcomes: outcomes,
	}
}

// Between accounts for the requests that were to arrive between two times of the load.
func (a *Account) Between(from, to time.Duration) *Account {
	var some []workload.Outcome
	for _, o := range a.outcomes {
		if o.Intended >= from && o.Intended < to {
			some = append(some, o)
		}
	}
	return account(some)
}

// sender sends images in turns; it implements workload.Sender.
type sender struct {
	model  *oip.ClientModel
	images []uint8
	size   int // bytes of an image
}

// Send implements workload.Sender.
func (s *sender) Send(ctx context.Context, i int, left time.Duration) (workload.Reply, error) {
	at := i % (len(s.images) / s.size) * s.size
	req := serve.Request{N: 1, Pixels: s.images[at:][:s.size], Timeout: max(left, time.Microsecond)}
	var resp serve.Response
	reply := workload.Reply{Images: 1, Correct: -1}
	err := s.model.InferInto(ctx, &req, &resp)
	switch serve.CodeOf(err) {
	case serve.OK:
	case serve.Late, serve.Full:
		reply.Status = workload.Dropped
		return reply, nil
	default:
		return reply, err
	}
	reply.Subnet, reply.Accuracy, reply.BatchSize = resp.Subnet, resp.Accuracy, resp.Batch
	reply.Queue, reply.Compute = resp.Queue, resp.Compute
	return reply, nil
}
