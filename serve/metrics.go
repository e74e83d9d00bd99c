package serve

import (
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// The labels are bounded: model by what is or could be served, subnet by its profile,
// outcome by the codes, tenant by maxTenants.
const (
	labelModel   = "model"
	labelSubnet  = "subnet"
	labelOutcome = "outcome"
	labelMet     = "met"
	labelTenant  = "tenant"
	labelKind    = "kind"
	labelState   = "state"
	labelPolicy  = "policy"
	labelVersion = "version"
)

// seconds are the buckets of latencies: 100 µs to 6.5 s, each twice the one before.
var seconds = prometheus.ExponentialBuckets(100e-6, 2, 17)

// metrics are those that the server counts; collector holds those that it reads off.
type metrics struct {
	received  *prometheus.CounterVec
	requests  *prometheus.CounterVec
	deadlines *prometheus.CounterVec
	tenants   *prometheus.CounterVec
	images    *prometheus.CounterVec
	correct   *prometheus.CounterVec
	answers   *prometheus.CounterVec
	batches   *prometheus.CounterVec
	busy      *prometheus.CounterVec
	retries   *prometheus.CounterVec
	loads     *prometheus.CounterVec
	batchSize *prometheus.HistogramVec
	queue     *prometheus.HistogramVec
	compute   *prometheus.HistogramVec
	total     *prometheus.HistogramVec

	byTenant tenantMetrics
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
	histogram := func(opt prometheus.HistogramOpts) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(opt, []string{labelModel})
		reg.MustRegister(h)
		return h
	}
	m := &metrics{
		received:  counter("weft_requests_received_total", "Requests that came in. Those that are in no outcome yet wait or run.", labelModel),
		requests:  counter("weft_requests_total", "Requests by outcome: ok, or the reason for which they were dropped or refused.", labelModel, labelOutcome),
		deadlines: counter("weft_deadlines_total", "Requests by whether they were answered by their deadline. Dropped, refused and failed ones were not; withdrawn and wrong ones, and those that a server refused which shuts down, don't count.", labelModel, labelMet),
		tenants:   counter("weft_tenant_deadlines_total", "Requests of the first tenants, and of all others together, by whether they were answered by their deadline.", labelTenant, labelMet),
		images:    counter("weft_images_total", "Images answered.", labelModel),
		correct:   counter("weft_images_expected_correct_total", "Images answered, each counted by the profiled accuracy of the subnet that answered. Over weft_images_total it is the accuracy served.", labelModel),
		answers:   counter("weft_subnet_requests_total", "Answered requests by the subnet that answered.", labelModel, labelSubnet),
		batches:   counter("weft_batches_total", "Batches by the subnet that was chosen.", labelModel, labelSubnet),
		busy:      counter("weft_subnet_compute_seconds_total", "Time that batches took by subnet, of all workers together.", labelModel, labelSubnet),
		retries:   counter("weft_retries_total", "Requests that were put into another batch because a worker was lost.", labelModel),
		loads:     counter("weft_model_loads_total", "Models loaded or loaded again, by outcome: ok or failed.", labelModel, labelOutcome),
		batchSize: histogram(prometheus.HistogramOpts{Name: "weft_batch_images", Help: "Images in a batch.", Buckets: prometheus.ExponentialBuckets(1, 2, 9)}),
		queue:     histogram(latency("weft_queue_seconds", "Time of answered requests from their start until their batch began.")),
		compute:   histogram(latency("weft_compute_seconds", "Time that a batch took.")),
		total:     histogram(latency("weft_request_seconds", "Time of answered requests from their start until the answer was computed.")),
	}
	m.byTenant.init(m.tenants)
	return m
}

// expect makes the counters of what has not happened yet, so that the first time is
// seen as a change.
func (m *metrics) expect(repo Repository) {
	if repo == nil {
		return
	}
	for _, name := range repo.Names() {
		for _, c := range []Code{OK, Failed} {
			m.loads.WithLabelValues(name, c.String())
		}
	}
}

// latency describes a histogram of times. Servers that know native histograms get
// buckets 10 % apart, the others those of seconds.
func latency(name, help string) prometheus.HistogramOpts {
	const buckets = 160
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: seconds,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: buckets, NativeHistogramMinResetDuration: time.Hour,
	}
}

// routerMetrics are the metrics of one model, found once so that counting
// looks nothing up.
type routerMetrics struct {
	received      prometheus.Counter
	outcomes      [len(codeNames)]prometheus.Counter
	images        prometheus.Counter
	correct       prometheus.Counter
	met, missed   prometheus.Counter
	retries       prometheus.Counter
	answers       map[string]prometheus.Counter // by subnet name
	batches, busy []prometheus.Counter          // by subnet
	batchSize     prometheus.Observer
	queue, total  prometheus.Observer
	computingTime prometheus.Observer
	byTenant      *tenantMetrics
}

func (m *metrics) router(model *Model) routerMetrics {
	rm := routerMetrics{
		received:      m.received.WithLabelValues(model.Name),
		images:        m.images.WithLabelValues(model.Name),
		correct:       m.correct.WithLabelValues(model.Name),
		met:           m.deadlines.WithLabelValues(model.Name, strconv.FormatBool(true)),
		missed:        m.deadlines.WithLabelValues(model.Name, strconv.FormatBool(false)),
		retries:       m.retries.WithLabelValues(model.Name),
		answers:       make(map[string]prometheus.Counter, len(model.Profile.Subnets)),
		batchSize:     m.batchSize.WithLabelValues(model.Name),
		queue:         m.queue.WithLabelValues(model.Name),
		total:         m.total.WithLabelValues(model.Name),
		computingTime: m.compute.WithLabelValues(model.Name),
		byTenant:      &m.byTenant,
	}
	for c, name := range codeNames {
		rm.outcomes[c] = m.requests.WithLabelValues(model.Name, name)
	}
	for _, s := range model.Profile.Subnets {
		rm.answers[s.Name] = m.answers.WithLabelValues(model.Name, s.Name)
		rm.batches = append(rm.batches, m.batches.WithLabelValues(model.Name, s.Name))
		rm.busy = append(rm.busy, m.busy.WithLabelValues(model.Name, s.Name))
	}
	return rm
}

// request counts a request that Infer is through with.
func (m *routerMetrics) request(req *Request, resp *Response, err error) {
	code := CodeOf(err)
	m.outcomes[code].Inc()
	switch code {
	case OK, Late, Full, Failed:
		m.deadline(req.Tenant, err == nil && resp.DeadlineMet)
	}
	if err != nil {
		return
	}
	m.images.Add(float64(req.N))
	m.correct.Add(float64(req.N) * resp.Accuracy)
	m.answers[resp.Subnet].Inc()
	m.queue.Observe(resp.Queue.Seconds())
	m.total.Observe((resp.Queue + resp.Compute).Seconds())
}

func (m *routerMetrics) deadline(tenant string, met bool) {
	if met {
		m.met.Inc()
	} else {
		m.missed.Inc()
	}
	if tenant != "" {
		m.byTenant.count(tenant, met)
	}
}

// batch counts a batch that a worker ran.
func (m *routerMetrics) batch(subnet, images int, took time.Duration) {
	m.batches[subnet].Inc()
	m.busy[subnet].Add(took.Seconds())
	m.batchSize.Observe(float64(images))
	m.computingTime.Observe(took.Seconds())
}

// maxTenants bounds the tenants that are counted each for itself.
const maxTenants = 100

// tenantMetrics counts by tenant.
type tenantMetrics struct {
	vec    *prometheus.CounterVec
	others deadlineCounters

	mu    sync.RWMutex
	known map[string]deadlineCounters
}

type deadlineCounters struct{ met, missed prometheus.Counter }

// otherTenants is the label of the tenants that are too many.
const otherTenants = "(others)"

func (t *tenantMetrics) init(vec *prometheus.CounterVec) {
	t.vec, t.known = vec, make(map[string]deadlineCounters)
	t.others = t.counters(otherTenants)
}

func (t *tenantMetrics) counters(tenant string) deadlineCounters {
	return deadlineCounters{
		met:    t.vec.WithLabelValues(tenant, strconv.FormatBool(true)),
		missed: t.vec.WithLabelValues(tenant, strconv.FormatBool(false)),
	}
}

func (t *tenantMetrics) count(tenant string, met bool) {
	c := t.find(tenant)
	if met {
		c.met.Inc()
	} else {
		c.missed.Inc()
	}
}

func (t *tenantMetrics) find(tenant string) deadlineCounters {
	t.mu.RLock()
	c, ok := t.known[tenant]
	full := len(t.known) >= maxTenants
	t.mu.RUnlock()
	switch {
	case ok:
		return c
	case full || !utf8.ValidString(tenant):
		return t.others
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.known[tenant]; ok {
		return c
	}
	if len(t.known) >= maxTenants {
		return t.others
	}
	c = t.counters(tenant)
	t.known[strings.Clone(tenant)] = c
	return c
}
