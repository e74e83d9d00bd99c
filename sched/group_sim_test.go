package sched_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weft/sched"
)

// tenancy is a model of a simulated group.
type tenancy struct {
	policy   string
	profile  *sched.Profile
	requests []sched.Request // in order of arrival
}

// simulateGroup has the models share the workers and returns the score of each. Batches
// take what the profile says.
func simulateGroup(t testing.TB, workers int, models ...tenancy) []score {
	t.Helper()
	type happening struct {
		at    time.Duration
		model int
		ev    sched.Event
	}
	g := sched.NewGroup()
	var arrivals, running []happening
	batches := map[uint64][]uint64{}
	for i, m := range models {
		s, err := g.Add(m.policy, m.profile, sched.Options{})
		if err != nil || s.Number() != i {
			t.Fatal(err)
		}
		for id, r := range m.requests {
			r.ID = uint64(id)
			arrivals = append(arrivals, happening{r.Arrival, i, sched.Event{Kind: sched.Arrive, Request: r}})
		}
	}
	slices.SortStableFunc(arrivals, func(a, b happening) int { return int(a.at - b.at) })
	met, accuracy := make([]float64, len(models)), make([]float64, len(models))
	tick := time.Duration(-1)
	apply := func(now time.Duration, actions []sched.Action) {
		for _, a := range actions {
			switch m := models[a.Model]; a.Kind {
			case sched.Wait:
				tick = a.Until
			case sched.Dispatch:
				end := now + m.profile.Latency(a.Subnet, a.Images)
				batches[a.Batch] = append([]uint64{uint64(a.Subnet)}, a.IDs...)
				running = append(running, happening{end, a.Model, sched.Event{Kind: sched.Done, Worker: a.Worker, Batch: a.Batch}})
				slices.SortStableFunc(running, func(a, b happening) int { return int(a.at - b.at) })
			}
		}
	}
	for w := range workers {
		for i := range models {
			apply(0, g.Step(0, i, sched.Event{Kind: sched.WorkerUp, Worker: w}))
		}
	}
	for len(arrivals)+len(running) > 0 {
		next := &arrivals
		if len(arrivals) == 0 || len(running) > 0 && running[0].at <= arrivals[0].at {
			next = &running
		}
		h := (*next)[0]
		if tick >= 0 && tick < h.at {
			at := tick
			tick = -1
			apply(at, g.Step(at, 0, sched.Event{Kind: sched.Tick}))
			continue
		}
		*next = (*next)[1:]
		if h.ev.Kind == sched.Done {
			m, batch := models[h.model], batches[h.ev.Batch]
			for _, id := range batch[1:] {
				if h.at <= m.requests[id].Deadline {
					met[h.model]++
					accuracy[h.model] += m.profile.Subnets[batch[0]].Accuracy
				}
			}
		}
		apply(h.at, g.Step(h.at, h.model, h.ev))
	}
	scores := make([]score, len(models))
	for i := range models {
		scores[i] = score{met[i] / float64(len(models[i].requests)), accuracy[i] / met[i]}
	}
	return scores
}

// deal gives each request to one of the models, by chance, in these proportions.
func deal(requests []sched.Request, seed uint64, parts ...float64) [][]sched.Request {
	dealt := make([][]sched.Request, len(parts))
	r := rand.New(rand.NewPCG(seed, 1))
	total := 0.
	for _, p := range parts {
		total += p
	}
	for _, q := range requests {
		at, i := r.Float64()*total, 0
		for at >= parts[i] {
			at -= parts[i]
			i++
		}
		dealt[i] = append(dealt[i], q)
	}
	return dealt
}

// scaled returns the profile with every latency multiplied.
func scaled(t testing.TB, p *sched.Profile, by float64) *sched.Profile {
	var subnets []sched.Subnet
	for _, s := range p.Subnets {
		s.Latency = slices.Clone(s.Latency)
		for i := range s.Latency {
			s.Latency[i] = time.Duration(by * float64(s.Latency[i]))
		}
		subnets = append(subnets, s)
	}
	q, err := sched.NewProfile(subnets, p.MaxBatch)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// total is the score of all the models' requests together.
func total(models []tenancy, scores []score) (all score) {
	n := 0.
	for i, s := range scores {
		met := s.attainment * float64(len(models[i].requests))
		all.attainment += met
		all.accuracy += met * s.accuracy
		n += float64(len(models[i].requests))
	}
	return score{all.attainment / n, all.accuracy / all.attainment}
}

// A model that is served as two or four, in whatever proportions, is served as well as
// before, and each of them as well as the whole.
func TestSplitModel(t *testing.T) {
	p := sixSubnets(t)
	const workers = 4
	for _, policy := range []string{"weft", "slackfit", "proteus:50ms"} {
		for _, load := range []float64{0.3, 0.6, 0.9} {
			if testing.Short() && load != 0.6 {
				continue
			}
			all := sched.OpenLoop(gammaArrivals(load*workers*capacity(p, 0), 4, 8000, 3), slo)
			whole := simulateGroup(t, workers, tenancy{policy, p, all})[0]
			for _, parts := range [][]float64{{1, 1}, {9, 1}, {1, 1, 1, 1}} {
				var models []tenancy
				for _, rs := range deal(all, 5, parts...) {
					models = append(models, tenancy{policy, p, rs})
				}
				scores := simulateGroup(t, workers, models...)
				sum := total(models, scores)
				t.Logf("%s at %v: %v in parts of %v: %v", policy, load, whole, parts, scores)
				if sum.attainment < whole.attainment-0.001 || sum.accuracy < whole.accuracy-0.003 {
					t.Errorf("%s at %v: %v, whole %v", policy, load, sum, whole)
				}
				for i, s := range scores {
					if s.attainment < whole.attainment-0.002 || s.accuracy < whole.accuracy-0.008 {
						t.Errorf("%s at %v: part %d of %v is served with %v, the whole with %v", policy, load, i, parts, s, whole)
					}
				}
			}
		}
	}
}

// Models of different speeds, deadlines and loads on shared workers: below capacity
// all are in time, also where half of the workers would not be enough for one of them,
// and under policy weft none is much more accurate at the cost of the other.
func TestModelsShareFairly(t *testing.T) {
	fast, slow := sixSubnets(t), scaled(t, sixSubnets(t), 4)
	const workers = 4
	for _, c := range []struct {
		name   string
		second *sched.Profile
		slo    [2]time.Duration
	}{
		{"alike", fast, [2]time.Duration{slo, slo}},
		{"slower", slow, [2]time.Duration{slo, slo}},
		{"later", fast, [2]time.Duration{slo, 8 * slo}},
		{"slower and later", slow, [2]time.Duration{slo, 4 * slo}},
	} {
		for _, load := range []float64{0.3, 0.6, 0.8} {
			for _, part := range []float64{0.2, 0.5, 0.8} {
				if testing.Short() && (part != 0.8 || load != 0.8) {
					continue
				}
				models := make([]tenancy, 2)
				for i, p := range []*sched.Profile{fast, c.second} {
					rate := []float64{part, 1 - part}[i] * load * workers * capacity(p, 0)
					models[i] = tenancy{"weft", p, sched.OpenLoop(gammaArrivals(rate, 8, int(rate*0.6), uint64(3+i)), c.slo[i])}
				}
				scores := simulateGroup(t, workers, models...)
				t.Logf("%s, %v of load %v: %v", c.name, part, load, scores)
				for _, s := range scores {
					if s.attainment < 0.9995 {
						t.Errorf("%s, %v of load %v: attainment %.4f", c.name, part, load, s.attainment)
					}
				}
				if c.name == "alike" && load == 0.8 && part == 0.8 {
					if half := simulateGroup(t, workers/2, models[0])[0]; half.attainment > 0.9 {
						t.Errorf("half of the workers do for the larger part: %v", half)
					} else {
						t.Logf("with half of the workers for itself: %v", half)
					}
				}
				if d := scores[0].accuracy - scores[1].accuracy; d > 0.015 || d < -0.03 {
					t.Errorf("%s, %v of load %v: accuracies %v", c.name, part, load, scores)
				}
			}
		}
	}
}
