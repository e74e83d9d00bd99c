package dash

import (
	"math"
	"slices"
	"strconv"
	"time"

	"weft/serve"
)

// sampler reads a server.
type sampler struct {
	server  *serve.Server
	sources []*source // in the order of the models' names
	changed bool      // since models were last returned
	at      time.Duration
	busy    busyTimes
}

func newSampler(s *serve.Server) *sampler {
	x := &sampler{server: s, changed: true, at: s.Now()}
	x.find()
	return x
}

// tick returns what happened since the last time. models says what is served,
// if that has changed.
func (s *sampler) tick() (tick *Tick, models []Model) {
	s.find()
	now := s.server.Now()
	tick = &Tick{
		AtMS: round(now), DtMS: round(now - s.at), Ready: s.server.Ready(), Draining: s.server.Draining(),
		Models: make([]Load, 0, len(s.sources)),
	}
	s.busy.begin(s.at)
	s.at = now
	for _, src := range s.sources {
		tick.Models = append(tick.Models, src.sample(&s.busy))
	}
	tick.Workers = s.busy.end(s.server, now)
	if s.changed {
		s.changed = false
		models = make([]Model, 0, len(s.sources))
		for _, src := range s.sources {
			models = append(models, src.describe())
		}
	}
	return tick, models
}

// find looks for models that came, went or were replaced.
func (s *sampler) find() {
	sources := make([]*source, 0, len(s.sources))
	for _, name := range s.server.Models() {
		r := s.server.Router(name)
		if r == nil {
			continue // it went meanwhile
		}
		i := slices.IndexFunc(s.sources, func(src *source) bool { return src.router == r })
		if i < 0 {
			sources = append(sources, newSource(name, r))
		} else {
			sources = append(sources, s.sources[i])
		}
	}
	s.changed = s.changed || !slices.Equal(sources, s.sources)
	s.sources = sources
}

// source reads one model's router.
type source struct {
	router  *serve.Router
	name    string
	seen    uint64 // records read so far
	arrived uint64 // requests that had arrived by the last tick

	records []serve.Record
	latency []float64
	slack   []float64
}

func newSource(name string, r *serve.Router) *source {
	s := &source{router: r, name: name}
	s.records, s.seen = r.Recent(nil, 0)
	s.arrived = s.seen + uint64(r.Status().InFlight)
	return s
}

// describe says what the source's model is.
func (s *source) describe() Model {
	m := s.router.Model()
	d := Model{
		Name: m.Name, Version: m.Version, Policy: s.router.Policy(), Input: [3]int{m.H, m.W, m.C},
		Classes: m.Classes, MaxBatch: m.Profile.MaxBatch,
	}
	for _, sub := range m.Profile.Subnets {
		ms := make([]float64, len(sub.Latency))
		for i, l := range sub.Latency {
			ms[i] = round(l)
		}
		d.Subnets = append(d.Subnets, Subnet{Name: sub.Name, Accuracy: sub.Accuracy, LatencyMS: ms})
	}
	return d
}

// sample returns what happened since the last time, and adds what the workers did.
func (s *source) sample(busy *busyTimes) Load {
	p := s.router.Model().Profile
	l := Load{Name: s.name, Subnets: make([]int, len(p.Subnets)), Batches: make([]int, p.MaxBatch), Requests: []Point{}}
	st := s.router.Status()
	before := s.seen
	s.records, s.seen = s.router.Recent(s.records[:0], before)
	arrived := max(s.seen+uint64(st.InFlight), s.arrived)
	l.Arrived, s.arrived = int(arrived-s.arrived), arrived
	l.Ready, l.Waiting, l.WaitingImages, l.Pace = st.Ready, st.WaitingRequests, st.WaitingImages, thousandths(st.Pace)
	l.BacklogMS = round(s.router.Backlog())

	s.count(&l, busy)
	l.SlackMS, l.LatencyMS = quantiles(s.slack), quantiles(s.latency)
	s.pick(&l)
	if n := len(s.records); n > 0 {
		// More requests than the recorder remembers ended: those that it has stand for all.
		l.scale(float64(s.seen-before) / float64(n))
	}
	return l
}

// mostSorted bounds the values that quantiles are taken of. More are thinned out evenly.
const mostSorted = 1024

// count goes through the records. Those of one batch follow each other.
func (s *source) count(l *Load, busy *busyTimes) {
	subnets := s.router.Model().Profile.Subnets
	s.latency, s.slack = s.latency[:0], s.slack[:0]
	stride := len(s.records)/mostSorted + 1
	accuracy, batch := 0., uint64(0)
	for i := range s.records {
		r := &s.records[i]
		switch {
		case r.Met():
			l.Met++
		case r.Code == serve.OK:
			l.Late++
		case r.Code == serve.Late:
			l.Refused++
		case r.Code == serve.Full:
			l.Refused++
			l.Full++
		case r.Code == serve.Cancelled || r.Code == serve.Draining:
			l.Withdrawn++
		default:
			l.Failed++
		}
		if r.Batch == 0 {
			continue
		}
		if r.Batch != batch {
			batch = r.Batch
			l.Subnets[r.Subnet] += r.BatchImages
			l.Batches[r.BatchImages-1]++
			busy.ended(s.name, r)
		}
		if r.Code == serve.OK {
			accuracy += subnets[r.Subnet].Accuracy
		}
		if i%stride == 0 {
			s.slack = append(s.slack, round(r.Deadline-r.Dispatched))
			s.latency = append(s.latency, round(r.Done-r.Arrival))
		}
	}
	if n := l.Met + l.Late; n > 0 {
		l.Accuracy = accuracy / float64(n)
	}
}

// scale multiplies the counts of what ended.
func (l *Load) scale(by float64) {
	if by == 1 {
		return
	}
	for _, n := range []*int{&l.Met, &l.Late, &l.Refused, &l.Full, &l.Failed, &l.Withdrawn} {
		*n = int(math.Round(float64(*n) * by))
	}
	for _, list := range [][]int{l.Subnets, l.Batches} {
		for i := range list {
			list[i] = int(math.Round(float64(list[i]) * by))
		}
	}
}

// mostPoints bounds the misses, and the others, among the points of a tick.
const mostPoints = 12

// pick chooses requests to show one by one: misses, and others evenly.
func (s *source) pick(l *Load) {
	for i := range s.records {
		if r := &s.records[i]; r.Missed() && len(l.Requests) < mostPoints {
			l.Requests = append(l.Requests, point(r))
		}
	}
	stride := len(s.records)/mostPoints + 1
	for i := 0; i < len(s.records); i += stride {
		if r := &s.records[i]; !r.Missed() {
			l.Requests = append(l.Requests, point(r))
		}
	}
}

func point(r *serve.Record) Point {
	p := Point{
		ID: strconv.FormatUint(r.ID, 10), AtMS: round(r.Done), LatencyMS: round(r.Done - r.Arrival),
		Outcome: r.Outcome(), Subnet: -1,
	}
	if r.Batch > 0 {
		p.Subnet = r.Subnet
	}
	return p
}

// quantiles sorts the values.
func quantiles(x []float64) Quantiles {
	if len(x) == 0 {
		return Quantiles{}
	}
	slices.Sort(x)
	at := func(q float64) float64 { return x[int(q*float64(len(x)-1)+0.5)] }
	return Quantiles{P1: at(0.01), P50: at(0.5), P99: at(0.99)}
}

// thousandths rounds, which keeps the JSON short.
func thousandths(x float64) float64 { return math.Round(x*1000) / 1000 }

// round returns milliseconds to the microsecond.
func round(d time.Duration) float64 { return float64(d.Round(time.Microsecond).Microseconds()) / 1000 }
