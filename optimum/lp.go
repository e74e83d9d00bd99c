package optimum

import (
	"bufio"
	"fmt"
	"io"
	"time"
)

// maxLPTerms bounds the programs that WriteLP writes.
const maxLPTerms = 1 << 20

// WriteLP writes the instance as an integer program in the LP format that CBC,
// SCIP, HiGHS, CPLEX and Gurobi read: SuperServe's ZILP (section 4.1), with time
// cut into slots and the sets of requests written out as assignments.
//
//	maximise  Σ acc_s · z_{i,s,b,t}                          request i is in a batch of b images that starts at t in s
//	          Σ_{s,b,t} z_{i,s,b,t} <= 1                     for every i: served at most once
//	          Σ_i size_i · z_{i,s,b,t} = b · y_{s,b,t}       for every s, b, t: y batches are full of them
//	          Σ_{s,b, t <= u < t+l_s(b)} y_{s,b,t} <= W      for every slot u
//
// A z exists only where i has arrived at t, meets its deadline at t + l_s(b) and
// accepts s. Requests of several images may not be cut, so with them every y is
// split into W batches of its own. A slot is the greatest common divisor of all
// latencies and of the times between arrivals: an optimal schedule that starts
// every batch as soon as it can has all its starts on that grid.
func WriteLP(w io.Writer, in Instance) error {
	if err := in.validate(); err != nil {
		return err
	}
	p, err := newProgram(&in)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	p.write(out)
	return out.Flush()
}

// program is the integer program: its batches, each with those that it may hold.
type program struct {
	*Instance
	origin, slot time.Duration
	copies       int // of each batch
	batches      []lpBatch
}

type lpBatch struct {
	subnet, images, copy int
	start, end           time.Duration
	requests             []int
}

// String returns the name of the batch's variable, which its members' names end in.
func (b *lpBatch) String() string {
	return fmt.Sprintf("s%d_b%d_t%d_c%d", b.subnet, b.images, b.start.Nanoseconds(), b.copy)
}

func newProgram(in *Instance) (*program, error) {
	p := &program{Instance: in, copies: 1}
	if len(in.Requests) == 0 {
		return p, nil
	}
	last := in.Requests[0].Deadline
	p.origin = in.Requests[0].Arrival
	for i := range in.Requests {
		r := &in.Requests[i]
		last, p.origin = max(last, r.Deadline), min(p.origin, r.Arrival)
		if r.Size != 1 {
			p.copies = in.Workers
		}
	}
	for i := range in.Requests {
		p.slot = gcd(p.slot, in.Requests[i].Arrival-p.origin)
	}
	for _, s := range in.Profile.Subnets {
		for _, l := range s.Latency {
			p.slot = gcd(p.slot, l)
		}
	}
	terms := 0
	for t := p.origin; t < last; t += p.slot {
		for subnet := range in.Profile.Subnets {
			for images := 1; images <= in.Profile.MaxBatch; images++ {
				terms += p.add(subnet, images, t)
			}
		}
		if terms += p.copies; terms > maxLPTerms {
			return nil, fmt.Errorf("the program has too many time slots of %v: round the latencies and arrivals to a coarser grid", p.slot)
		}
	}
	return p, nil
}

func gcd(a, b time.Duration) time.Duration {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// add adds the batch if there is enough to fill it, and returns how many terms that took.
func (p *program) add(subnet, images int, start time.Duration) int {
	b := lpBatch{subnet: subnet, images: images, start: start, end: start + p.Profile.Latency(subnet, images)}
	sum := 0
	for i := range p.Requests {
		r := &p.Requests[i]
		if r.Arrival <= b.start && b.end <= r.Deadline && r.Size <= images && p.accepts(r, subnet) {
			b.requests = append(b.requests, i)
			sum += r.Size
		}
	}
	if sum < images {
		return 0
	}
	for c := range p.copies {
		b.copy = c
		p.batches = append(p.batches, b)
	}
	return p.copies * len(b.requests)
}

func (p *program) write(w *bufio.Writer) {
	fmt.Fprintln(w, "Maximize\n value: 0 none")
	for i := range p.batches {
		b := &p.batches[i]
		for _, r := range b.requests {
			fmt.Fprintf(w, " + %.9g z%d_%v\n", p.Profile.Subnets[b.subnet].Accuracy, r, b)
		}
	}
	fmt.Fprintln(w, "Subject To")
	p.writeOnce(w)
	for i := range p.batches {
		b := &p.batches[i]
		fmt.Fprintf(w, " full_%v:", b)
		for _, r := range b.requests {
			fmt.Fprintf(w, " + %d z%d_%v\n", p.Requests[r].Size, r, b)
		}
		fmt.Fprintf(w, " - %d y_%v = 0\n", b.images, b)
	}
	p.writeWorkers(w)
	fmt.Fprintln(w, "Bounds\n 0 <= none <= 0")
	for i := range p.batches {
		fmt.Fprintf(w, " 0 <= y_%v <= %d\n", &p.batches[i], p.Workers/p.copies)
	}
	fmt.Fprintln(w, "General")
	for i := range p.batches {
		fmt.Fprintf(w, " y_%v\n", &p.batches[i])
	}
	fmt.Fprintln(w, "Binary")
	for i := range p.batches {
		for _, r := range p.batches[i].requests {
			fmt.Fprintf(w, " z%d_%v\n", r, &p.batches[i])
		}
	}
	fmt.Fprintln(w, "End")
}

// writeOnce writes that each request is served at most once.
func (p *program) writeOnce(w *bufio.Writer) {
	of := make([][]*lpBatch, len(p.Requests))
	for i := range p.batches {
		for _, r := range p.batches[i].requests {
			of[r] = append(of[r], &p.batches[i])
		}
	}
	for r, batches := range of {
		fmt.Fprintf(w, " once_%d: none\n", r)
		for _, b := range batches {
			fmt.Fprintf(w, " + z%d_%v\n", r, b)
		}
		fmt.Fprintln(w, " <= 1")
	}
}

// writeWorkers writes that no more batches run than there are workers, for each
// slot in which one starts: between those, the number only falls.
func (p *program) writeWorkers(w *bufio.Writer) {
	for i := range p.batches {
		at := p.batches[i].start
		if i > 0 && p.batches[i-1].start == at {
			continue
		}
		fmt.Fprintf(w, " workers_t%d: none\n", at.Nanoseconds())
		for k := range p.batches {
			if b := &p.batches[k]; b.start <= at && at < b.end {
				fmt.Fprintf(w, " + y_%v\n", b)
			}
		}
		fmt.Fprintf(w, " <= %d\n", p.Workers)
	}
}
