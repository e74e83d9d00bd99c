package optimum_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weft/optimum"
	"weft/sched"
)

const ms = time.Millisecond

// profile returns subnets of rising accuracy and latency.
func profile(t testing.TB, r *rand.Rand, subnets, maxBatch int) *sched.Profile {
	t.Helper()
	var list []sched.Subnet
	for i := range subnets {
		s := sched.Subnet{Name: fmt.Sprint("s", i), Accuracy: 0.70 + 0.03*float64(i) + 0.02*r.Float64()}
		first, each := 1+r.IntN(2+i), 1+r.IntN(1+2*i)
		for b := range maxBatch {
			s.Latency = append(s.Latency, time.Duration(2*first+each*(b+1))*ms/2)
		}
		if r.IntN(4) == 0 && maxBatch > 2 { // latency need not grow with the batch
			s.Latency[0], s.Latency[1] = s.Latency[1], s.Latency[0]
		}
		list = append(list, s)
	}
	p, err := sched.NewProfile(list, maxBatch)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// instance returns up to that many requests at random; plain ones have one
// image, any subnet and the same time until their deadlines.
func instance(t testing.TB, r *rand.Rand, requests int, plain bool) optimum.Instance {
	p := profile(t, r, 1+r.IntN(4), 1+r.IntN(5))
	in := optimum.Instance{Profile: p, Workers: 1 + r.IntN(3)}
	at := time.Duration(0)
	slo := time.Duration(4+r.IntN(16)) * ms / 2
	for range 1 + r.IntN(requests) {
		at += time.Duration(r.IntN(4)*r.IntN(3)) * ms / 2
		q := sched.Request{Arrival: at, Deadline: at + slo, Size: 1, Subnet: sched.AnySubnet}
		if !plain {
			q.Deadline = at + time.Duration(1+r.IntN(24))*ms/2
			q.Size += r.IntN(2) * r.IntN(2)
			if r.IntN(5) == 0 {
				q.MinAccuracy = 0.76
			}
			if r.IntN(8) == 0 {
				q.Subnet = r.IntN(len(p.Subnets))
			}
		}
		in.Requests = append(in.Requests, q)
	}
	r.Shuffle(len(in.Requests), func(i, j int) { in.Requests[i], in.Requests[j] = in.Requests[j], in.Requests[i] })
	return in
}

// verify checks that the schedule can be carried out, and its value.
func verify(in optimum.Instance, s optimum.Schedule) error {
	free := map[int]time.Duration{}
	for w, at := range in.Free {
		free[w] = at
	}
	served := map[int]bool{}
	value, last := 0.0, time.Duration(math.MinInt64)
	for _, b := range s.Batches {
		if until, ok := free[b.Worker]; ok && b.Start < until || b.Worker < 0 || b.Worker >= in.Workers || b.Start < last {
			return fmt.Errorf("%+v: its worker is not free, or it is out of order", b)
		}
		free[b.Worker], last = b.End, b.Start
		images := 0
		for _, i := range b.Requests {
			r := in.Requests[i]
			images += r.Size
			if served[i] || b.Start < r.Arrival || b.End > r.Deadline {
				return fmt.Errorf("%+v: request %d %+v is served twice, too early or too late", b, i, r)
			}
			if r.Subnet >= 0 && r.Subnet != b.Subnet || in.Profile.Subnets[b.Subnet].Accuracy < r.MinAccuracy {
				return fmt.Errorf("%+v: request %+v does not accept the subnet", b, r)
			}
			served[i] = true
			value += in.Profile.Subnets[b.Subnet].Accuracy
		}
		if images > in.Profile.MaxBatch || b.End-b.Start != in.Profile.Latency(b.Subnet, images) {
			return fmt.Errorf("%+v: %d images don't fit or take another time", b, images)
		}
	}
	if math.Abs(value-s.Value) > 1e-9 {
		return fmt.Errorf("the batches are worth %v, not %v", value, s.Value)
	}
	return nil
}

func TestExactAgainstBruteForce(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		in := instance(t, r, 7, seed%2 == 0)
		if seed%3 == 0 {
			for range in.Workers {
				in.Free = append(in.Free, time.Duration(r.IntN(20))*ms/2)
			}
		}
		want := optimum.BruteForce(in)
		got, err := optimum.Exact(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(got.Value-want) > 1e-9 || got.Bound != got.Value {
			t.Fatalf("seed %d: %v, bound %v, brute force %v on %+v", seed, got.Value, got.Bound, want, in)
		}
		if err := verify(in, got); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestBoundHolds also reports how far above the optimum the bound is.
func TestBoundHolds(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	var best, bound float64
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 2))
		in := instance(t, r, 12, seed%2 == 0)
		s, err := optimum.Exact(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := optimum.Bound(in)
		if err != nil {
			t.Fatal(err)
		}
		if b < s.Value-1e-9 {
			t.Fatalf("seed %d: bound %v, optimum %v on %+v", seed, b, s.Value, in)
		}
		best, bound = best+s.Value, bound+b
		if met, err := optimum.BoundMet(in); err != nil || met < float64(mostMet(t, in))-1e-9 {
			t.Fatalf("seed %d: at most %v met, %v, on %+v", seed, met, err, in)
		}
	}
	t.Logf("bound / optimum = %.4f", bound/best)
}

// mostMet returns the most requests that any schedule answers in time, or 0 if
// some have a floor, which accuracies of 1 would all be above.
func mostMet(t *testing.T, in optimum.Instance) int {
	if slices.ContainsFunc(in.Requests, func(r sched.Request) bool { return r.MinAccuracy > 0 }) {
		return 0
	}
	p := &sched.Profile{Subnets: slices.Clone(in.Profile.Subnets), MaxBatch: in.Profile.MaxBatch}
	for i := range p.Subnets {
		p.Subnets[i].Accuracy = 1
	}
	in.Profile = p
	s, err := optimum.Exact(in, 0)
	if err != nil {
		t.Fatal(err)
	}
	return int(s.Value + 0.5)
}

// TestExactByHand has optima that are easily seen.
func TestExactByHand(t *testing.T) {
	linear := func(name string, accuracy float64, each time.Duration) sched.Subnet {
		return sched.Subnet{Name: name, Accuracy: accuracy, Latency: []time.Duration{ms + each, ms + 2*each, ms + 3*each, ms + 4*each}}
	}
	p, err := sched.NewProfile([]sched.Subnet{linear("small", 0.70, ms), linear("mid", 0.75, 2*ms), linear("large", 0.80, 4*ms)}, 4)
	if err != nil {
		t.Fatal(err)
	}
	at := func(arrival, deadline time.Duration) sched.Request {
		return sched.Request{Arrival: arrival, Deadline: deadline, Size: 1, Subnet: sched.AnySubnet}
	}
	pin := func(r sched.Request, subnet int) sched.Request { r.Subnet = subnet; return r }
	for _, c := range []struct {
		name     string
		workers  int
		want     float64
		requests []sched.Request
	}{
		{"alone", 1, 0.80, []sched.Request{at(0, 5*ms)}},
		{"too tight for large", 1, 0.75, []sched.Request{at(0, 5*ms-1)}},
		{"hopeless", 1, 0, []sched.Request{at(0, 2*ms-1)}},
		{"both in mid", 1, 1.50, []sched.Request{at(0, 5*ms), at(0, 5*ms)}},
		{"a worker each", 2, 1.60, []sched.Request{at(0, 5*ms), at(0, 5*ms)}},
		{"waiting for the second", 1, 1.50, []sched.Request{at(0, 6*ms), at(1*ms, 6*ms)}},
		{"one must go", 1, 0.70, []sched.Request{at(0, 2*ms), at(0, 2*ms)}},
		{"a short one beside a long one", 2, 1.60, []sched.Request{at(0, 9*ms), at(0, 5*ms)}},
		{"the most urgent one goes", 1, 1.40, []sched.Request{at(ms/2, ms/2+2*ms), at(ms, 4*ms), at(ms, 4*ms)}},
		{"pinned apart", 1, 0.80, []sched.Request{pin(at(0, 5*ms), 0), pin(at(0, 5*ms), 2)}},
		{"no worker", 0, 0, []sched.Request{at(0, 5*ms)}},
		{"no request", 1, 0, nil},
		{"too large", 1, 0.70, []sched.Request{at(0, 2*ms), {Deadline: time.Hour, Size: 5, Subnet: sched.AnySubnet}}},
	} {
		in := optimum.Instance{Profile: p, Workers: c.workers, Requests: c.requests}
		s, err := optimum.Exact(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := optimum.BruteForce(in); math.Abs(got-c.want) > 1e-9 || math.Abs(s.Value-c.want) > 1e-9 {
			t.Errorf("%s: exact %v, brute force %v, want %v", c.name, s.Value, got, c.want)
		}
	}
}

// TestExactLimit: a search cut short gives a schedule that can be carried out
// and a bound that holds.
func TestExactLimit(t *testing.T) {
	short := 0
	for seed := range 200 {
		in := instance(t, rand.New(rand.NewPCG(uint64(seed), 3)), 10, true)
		full, err := optimum.Exact(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{1, 3, 10} {
			s, err := optimum.Exact(in, limit)
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(in, s); err != nil {
				t.Fatal(err)
			}
			if s.Value > full.Value+1e-9 || s.Bound < full.Value-1e-9 {
				t.Fatalf("seed %d: %v..%v, the optimum is %v", seed, s.Value, s.Bound, full.Value)
			}
			if s.Value < s.Bound {
				short++
			}
		}
	}
	if short == 0 {
		t.Error("no search was cut short")
	}
}

func TestErrors(t *testing.T) {
	p := profile(t, rand.New(rand.NewPCG(1, 1)), 2, 2)
	many := slices.Repeat([]sched.Request{{Deadline: 1, Size: 1}}, optimum.MaxExact+1)
	for name, in := range map[string]optimum.Instance{
		"no profile":       {Workers: 1},
		"negative workers": {Profile: p, Workers: -1},
		"too many":         {Profile: p, Workers: 1, Requests: many},
	} {
		if _, err := optimum.Exact(in, 0); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
