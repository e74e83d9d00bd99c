package superserve

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"weft/sched"
)

// Profile is what the subnets of an experiment take and reach, with where that is from.
type Profile struct {
	Name string
	Note string
	*sched.Profile
}

// The paper's six subnets, and what it says of their speed.
var paperAccuracy = [...]float64{0.7382, 0.7669, 0.7764, 0.7825, 0.7944, 0.8016}

const (
	paperBatch   = 16
	paperWorkers = 8
	paperSLO     = 36 * time.Millisecond
)

// paperCapacity is the assumption: what eight workers get through a second, in batches of
// 16. The ends are the paper's range, 2,000 to 8,000. The middle is read off its operating
// points: 76 to 78 % at 7,000/s (Fig 13a), 73.82 + 4.65 % at a mean of 6,400/s (Fig 8a),
// 79.2 % at 2,500/s (Fig 13b).
var paperCapacity = [...]float64{8000, 7600, 7200, 6400, 3300, 2000}

// Paper returns the fixed table: the paper's accuracies, and latencies under which eight
// workers span its throughput. A batch costs as much as one image more than it has. The
// latencies are an assumption, so orderings and shapes are what it can tell, not digits.
func Paper() Profile {
	return table("paper", "the paper's six accuracies; latencies assumed: capacities of eight workers "+
		"8000, 7600, 7200, 6400, 3300 and 2000/s at batch 16 (the ends are the paper's, the middle is read off its operating points), "+
		"a batch of b images taking (b+1)/17 of a full one", paperCapacity)
}

// Linear returns the same table with time in proportion to FLOPs, in which the paper's
// subnets are evenly spaced: what holds under both does not hang on the assumption.
func Linear() Profile {
	var capacity [len(paperAccuracy)]float64
	for i := range capacity {
		capacity[i] = 8000 / (1 + 3*float64(i)/float64(len(capacity)-1))
	}
	return table("linear", "as paper, but with the subnets' time evenly spaced, as their FLOPs are: "+
		"8000, 5000, 3636, 2857, 2353 and 2000/s", capacity)
}

func table(name, note string, capacity [len(paperAccuracy)]float64) Profile {
	var subnets []sched.Subnet
	for i, accuracy := range paperAccuracy {
		s := sched.Subnet{Name: fmt.Sprintf("%.2f", 100*accuracy), Accuracy: accuracy}
		full := paperBatch * paperWorkers / capacity[i]
		for b := 1; b <= paperBatch; b++ {
			seconds := full * float64(b+1) / (paperBatch + 1)
			s.Latency = append(s.Latency, time.Duration(math.Round(seconds*float64(time.Second))))
		}
		subnets = append(subnets, s)
	}
	p, err := sched.NewProfile(subnets, paperBatch)
	if err != nil {
		panic(err) // the table is a constant
	}
	return Profile{name, note, p}
}

// Measured returns a measured profile on a slower clock: one on which a full batch of the
// fastest subnet takes as long as in the paper's table. Rates and deadlines can then stay
// as they are. What holds at 6400/s and 36 ms holds, on the machine that was measured, at
// that many times the rate and in that part of the time.
func Measured(p *sched.Profile) Profile {
	full := time.Duration(float64(time.Second) * paperBatch * paperWorkers / paperCapacity[0])
	fastest := slices.MinFunc(p.Subnets, func(a, b sched.Subnet) int {
		return cmp.Compare(a.Latency[p.MaxBatch-1], b.Latency[p.MaxBatch-1])
	})
	stretch := float64(full) / float64(fastest.Latency[p.MaxBatch-1])
	var subnets []sched.Subnet
	for _, s := range p.Subnets {
		to := sched.Subnet{Name: s.Name, Accuracy: s.Accuracy}
		for _, l := range s.Latency {
			to.Latency = append(to.Latency, time.Duration(math.Round(float64(l)*stretch)))
		}
		subnets = append(subnets, to)
	}
	slow, err := sched.NewProfile(subnets, p.MaxBatch)
	if err != nil {
		panic(err) // it was valid, and still is
	}
	return Profile{"measured", fmt.Sprintf("latencies of a bundle on this machine, on a clock %.3g times slower: "+
		"6400/s and 36 ms here are %.0f/s and %.2f ms there", stretch, 6400*stretch, 36/stretch), slow}
}

// spread returns up to six indices of subnets, evenly spread, the ends among them.
func (p Profile) spread() []int {
	n := len(p.Subnets)
	k := min(n, len(paperAccuracy))
	if k == 1 {
		return []int{0}
	}
	var at []int
	for i := range k {
		at = append(at, i*(n-1)/(k-1))
	}
	return at
}

// Recorded returns the profile of a report that was kept as JSON, so that others can
// compute the same figures.
func Recorded(r io.Reader) (Profile, error) {
	var kept Report
	if err := json.NewDecoder(r).Decode(&kept); err != nil {
		return Profile{}, fmt.Errorf("this is no report of superserve: %w", err)
	}
	var subnets []sched.Subnet
	for _, t := range kept.Subnets {
		s := sched.Subnet{Name: t.Name, Accuracy: t.Accuracy}
		for _, ms := range t.LatencyMS {
			s.Latency = append(s.Latency, time.Duration(math.Round(ms*float64(time.Millisecond))))
		}
		subnets = append(subnets, s)
	}
	p, err := sched.NewProfile(subnets, 0)
	return Profile{kept.Profile, kept.Note, p}, err
}
