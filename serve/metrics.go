package serve

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// The labels are bounded: model and subnet by what is served, outcome by the codes.
const (
	labelModel   = "model"
	labelSubnet  = "subnet"
	labelOutcome = "outcome"
	labelMet     = "met"
)

// seconds are the buckets of latencies: 100 µs to 6.5 s, each twice the one before.
var seconds = prometheus.ExponentialBuckets(100e-6, 2, 17)

// metrics are those that the server counts; collector holds those that it reads off.
type metrics struct {
	requests  *prometheus.CounterVec
	images    *prometheus.CounterVec
	deadlines *prometheus.CounterVec
	answers   *prometheus.CounterVec
	batches   *prometheus.CounterVec
	batchSize *prometheus.HistogramVec
	queue     *prometheus.HistogramVec
	compute   *prometheus.HistogramVec
	total     *prometheus.HistogramVec
}

func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{labelModel})
		reg.MustRegister(h)
		return h
	}
	return &metrics{
		requests:  counter("weft_requests_total", "Requests by outcome: ok, or the reason for which they were dropped or refused.", labelModel, labelOutcome),
		images:    counter("weft_images_total", "Images answered.", labelModel),
		deadlines: counter("weft_deadlines_total", "Answered requests by whether the deadline was met.", labelModel, labelMet),
		answers:   counter("weft_subnet_requests_total", "Answered requests by the subnet that answered.", labelModel, labelSubnet),
		batches:   counter("weft_batches_total", "Batches by the subnet that was chosen.", labelModel, labelSubnet),
		batchSize: histogram("weft_batch_images", "Images in a batch.", prometheus.ExponentialBuckets(1, 2, 9)),
		queue:     histogram("weft_queue_seconds", "Time of answered requests from their start until their batch began.", seconds),
		compute:   histogram("weft_compute_seconds", "Time that a batch took.", seconds),
		total:     histogram("weft_request_seconds", "Time of answered requests from their start until the answer was computed.", seconds),
	}
}

// routerMetrics are the metrics of one model, found once so that counting
// looks nothing up.
type routerMetrics struct {
	outcomes      [len(codeNames)]prometheus.Counter
	images        prometheus.Counter
	met, missed   prometheus.Counter
	answers       map[string]prometheus.Counter // by subnet name
	batches       []prometheus.Counter          // by subnet
	batchSize     prometheus.Observer
	queue, total  prometheus.Observer
	computingTime prometheus.Observer
}

func (m *metrics) router(model *Model) routerMetrics {
	rm := routerMetrics{
		images:        m.images.WithLabelValues(model.Name),
		met:           m.deadlines.WithLabelValues(model.Name, strconv.FormatBool(true)),
		missed:        m.deadlines.WithLabelValues(model.Name, strconv.FormatBool(false)),
		answers:       make(map[string]prometheus.Counter, len(model.Profile.Subnets)),
		batchSize:     m.batchSize.WithLabelValues(model.Name),
		queue:         m.queue.WithLabelValues(model.Name),
		total:         m.total.WithLabelValues(model.Name),
		computingTime: m.compute.WithLabelValues(model.Name),
	}
	for c, name := range codeNames {
		rm.outcomes[c] = m.requests.WithLabelValues(model.Name, name)
	}
	for _, s := range model.Profile.Subnets {
		rm.answers[s.Name] = m.answers.WithLabelValues(model.Name, s.Name)
		rm.batches = append(rm.batches, m.batches.WithLabelValues(model.Name, s.Name))
	}
	return rm
}

// request counts a request that Infer is through with.
func (m *routerMetrics) request(req *Request, resp *Response, err error) {
	m.outcomes[CodeOf(err)].Inc()
	if err != nil {
		return
	}
	m.images.Add(float64(req.N))
	if resp.DeadlineMet {
		m.met.Inc()
	} else {
		m.missed.Inc()
	}
	m.answers[resp.Subnet].Inc()
	m.queue.Observe(resp.Queue.Seconds())
	m.total.Observe((resp.Queue + resp.Compute).Seconds())
}

// batch counts a batch that a worker ran.
func (m *routerMetrics) batch(subnet, images int, took time.Duration) {
	m.batches[subnet].Inc()
	m.batchSize.Observe(float64(images))
	m.computingTime.Observe(took.Seconds())
}

// collector reads the state of the routers when the metrics are asked for.
type collector struct{ server *Server }

var (
	descWaiting = prometheus.NewDesc("weft_queue_requests", "Requests that wait.", []string{labelModel}, nil)
	descImages  = prometheus.NewDesc("weft_queue_images", "Images that wait.", []string{labelModel}, nil)
	descWorkers = prometheus.NewDesc("weft_workers", "Workers that are up.", []string{labelModel}, nil)
	descFree    = prometheus.NewDesc("weft_workers_free", "Workers that are up and idle.", []string{labelModel}, nil)
	descReady   = prometheus.NewDesc("weft_ready", "1 when the model takes requests.", []string{labelModel}, nil)
	descAttain  = prometheus.NewDesc("weft_slo_attainment_ratio", "Share of the last 1024 requests, dropped ones included, that met their deadline.", []string{labelModel}, nil)
	descPace    = prometheus.NewDesc("weft_scheduler_drift_ratio", "Measured over profiled time of the latest batches, which the scheduler allows for.", []string{labelModel}, nil)
	descDrift   = prometheus.NewDesc("weft_profile_drift_ratio", "Moving average of the measured over the profiled time of a batch. Far from 1: profile again.", []string{labelModel, labelSubnet}, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descWaiting, descImages, descWorkers, descFree, descReady, descAttain, descPace, descDrift} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, r := range c.server.serving.Load().routers {
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{r.model.Name}, labels...)...)
		}
		st := r.Status()
		gauge(descWaiting, float64(st.WaitingRequests))
		gauge(descImages, float64(st.WaitingImages))
		gauge(descWorkers, float64(st.Workers))
		gauge(descFree, float64(st.Free))
		gauge(descPace, st.Pace)
		gauge(descReady, map[bool]float64{true: 1}[st.Ready])
		if st.Accounted > 0 {
			gauge(descAttain, st.Attainment)
		}
		for i, d := range st.Drift {
			if d > 0 {
				gauge(descDrift, d, r.model.Profile.Subnets[i].Name)
			}
		}
	}
}
