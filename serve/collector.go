package serve

import "github.com/prometheus/client_golang/prometheus"

// collector reads the state of the server when the metrics are asked for.
type collector struct{ server *Server }

var (
	descWaiting  = modelDesc("weft_queue_requests", "Requests that wait.")
	descImages   = modelDesc("weft_queue_images", "Images that wait.")
	descWork     = modelDesc("weft_queue_work_seconds", "Time that the workers need at least for what waits.")
	descInFlight = modelDesc("weft_requests_in_flight", "Requests that wait or run.")
	descWorkers  = modelDesc("weft_workers", "Workers that run the model.")
	descFree     = modelDesc("weft_workers_free", "Workers that run the model and are idle.")
	descReady    = modelDesc("weft_ready", "1 when the model takes requests and a worker is there to run them.")
	descAttain   = modelDesc("weft_slo_attainment_ratio", "Share of the last 1024 requests, dropped ones included, that met their deadline.")
	descPace     = modelDesc("weft_scheduler_drift_ratio", "Measured over profiled time of the latest batches, which the scheduler allows for.")
	descDrift    = modelDesc("weft_profile_drift_ratio", "Moving average of the measured over the profiled time of a batch. Far from 1: profile again.", labelSubnet)
	descInfo     = modelDesc("weft_model_info", "1 for each model that is served, with its version and policy.", labelVersion, labelPolicy)
	descPool     = prometheus.NewDesc("weft_pool_workers", "Workers of the server by kind, local or remote, and by state: busy, idle, starting or leaving.", []string{labelKind, labelState}, nil)
	descLost     = prometheus.NewDesc("weft_workers_lost_total", "Workers that were lost.", nil, nil)
)

func modelDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{labelModel}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descWaiting, descImages, descWork, descInFlight, descWorkers, descFree, descReady,
		descAttain, descPace, descDrift, descInfo, descPool, descLost,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for name, r := range c.server.serving.Load().routers {
		st := r.Status()
		gauge(descWaiting, float64(st.WaitingRequests), name)
		gauge(descImages, float64(st.WaitingImages), name)
		gauge(descWork, r.Backlog().Seconds(), name)
		gauge(descInFlight, float64(st.InFlight), name)
		gauge(descWorkers, float64(st.Workers), name)
		gauge(descFree, float64(st.Free), name)
		gauge(descPace, st.Pace, name)
		gauge(descReady, map[bool]float64{true: 1}[st.Ready], name)
		gauge(descInfo, 1, name, r.model.Version, r.Policy())
		if st.Accounted > 0 {
			gauge(descAttain, st.Attainment, name)
		}
		for i, d := range st.Drift {
			if d > 0 {
				gauge(descDrift, d, name, r.model.Profile.Subnets[i].Name)
			}
		}
	}
	states, lost := c.server.pool.count()
	for state, n := range states {
		gauge(descPool, float64(n), state.kind, state.state)
	}
	ch <- prometheus.MustNewConstMetric(descLost, prometheus.CounterValue, float64(lost))
}

// workerState is what the workers are counted by.
type workerState struct{ kind, state string }

// count counts the workers, and those that were lost since the start.
func (p *pool) count() (states map[workerState]int, lost uint64) {
	states = make(map[workerState]int)
	for _, kind := range []string{"local", "remote"} {
		for _, state := range []string{"busy", "idle", "starting", "leaving"} {
			states[workerState{kind, state}] = 0
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w != nil {
			states[w.state()]++
		}
	}
	return states, p.lost
}

func (w *worker) state() workerState {
	s := workerState{"remote", "idle"}
	if w.long != nil { // it computes itself
		s.kind = "local"
	}
	switch {
	case w.leaving:
		s.state = "leaving"
	case !w.up:
		s.state = "starting"
	case w.phase.Load() != idle:
		s.state = "busy"
	}
	return s
}
