package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/atomicfile"
	"weft/flight"
	"weft/sched"
	"weft/serve"
)

// flightJob says what to tell of a flight.
type flightJob struct {
	model    string
	request  uint64
	policies []string
	svg      string
	window   time.Duration
	asJSON   bool
}

// newFlightCmd returns the flight command.
func newFlightCmd() *cobra.Command {
	var job flightJob
	cmd := &cobra.Command{
		Use:   "flight FILE",
		Short: "Say why requests missed their deadlines, from what weft serve --flight-dir wrote",
		Long: `Read a file that weft serve --flight-dir wrote around a missed deadline. Say what became of the requests, why those missed their
deadlines that did, and what happened meanwhile to one of them: the one for which the file was written, or --request.
--policy simulates other policies on the same requests; --svg draws workers, batches and misses.`,
		Example: "  weft flight flights/flight-20260102T030405.000000000Z.jsonl\n  weft flight FILE --policy weft,slackfit --svg flight.svg",
		Args:    takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return job.run(args[0], cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&job.model, "model", "", "the model (default: that of the request for which the file was written)")
	f.Uint64Var(&job.request, "request", 0, "the request to look at (default: the one for which the file was written)")
	f.StringSliceVar(&job.policies, "policy", nil, fmt.Sprintf("policies to simulate on the same requests: %v", sched.Policies()))
	f.StringVar(&job.svg, "svg", "", "file for a picture of what happened")
	f.DurationVar(&job.window, "window", 100*time.Millisecond, "time before and after the request that the picture shows; 0 for all")
	jsonFlag(cmd, &job.asJSON)
	return cmd
}

// The rows of what is told. Times are in milliseconds.
type (
	flightReport struct {
		Written  string        `json:"written" col:"written"`
		Version  string        `json:"version,omitempty"`
		Seconds  float64       `json:"seconds" col:"seconds,%.1f"`
		Model    string        `json:"model" col:"model"`
		Policy   string        `json:"policy" col:"policy"`
		Workers  int           `json:"workers" col:"workers up"`
		Pace     float64       `json:"pace" col:"pace,%.2f"`
		Rate     float64       `json:"requests_per_second" col:"requests/s,%.1f"`
		Requests int           `json:"requests" col:"requests"`
		Met      int           `json:"met" col:"met"`
		Missed   int           `json:"missed" col:"missed"`
		Causes   []flightCause `json:"causes"`
		Request  *flightMiss   `json:"request,omitempty"`
		Replays  []replayRow   `json:"replays,omitempty"`
	}
	flightCause struct {
		Cause    flight.Cause `json:"cause" col:"why missed"`
		Requests int          `json:"requests" col:"requests"`
		Example  uint64       `json:"example" col:"for instance"`
	}
	flightMiss struct {
		ID        uint64       `json:"id" col:"request"`
		Tenant    string       `json:"tenant,omitempty"`
		Had       float64      `json:"had_ms" col:"had,%.2f ms"`
		Images    int          `json:"images" col:"images"`
		Outcome   string       `json:"outcome" col:"outcome"`
		After     float64      `json:"after_ms" col:"after,%.2f ms"`
		Cause     flight.Cause `json:"cause,omitempty" col:"why"`
		Text      string       `json:"text,omitempty" col:"because"`
		Waited    int          `json:"waited" col:"requests ahead"`
		Batches   []flightRow  `json:"batches"`
		Queue     float64      `json:"queue_ms"`
		Gather    float64      `json:"gather_ms"`
		Compute   float64      `json:"compute_ms"`
		Scatter   float64      `json:"scatter_ms"`
		Attempts  int          `json:"attempts"`
		BatchSize int          `json:"batch_size"`
	}
	flightRow struct {
		Model    string  `json:"model" col:"model"`
		Batch    uint64  `json:"batch" col:"batch"`
		Worker   int     `json:"worker" col:"worker"`
		Subnet   string  `json:"subnet" col:"subnet"`
		Images   int     `json:"images" col:"images"`
		Start    float64 `json:"start_ms" col:"from ms,%.2f"` // after the request's arrival
		End      float64 `json:"end_ms" col:"to ms,%.2f"`
		Free     float64 `json:"free_ms" col:"free ms,%.2f"` // when the worker was through with it
		Profiled float64 `json:"profiled_ms" col:"profiled ms,%.2f"`
		Missed   int     `json:"missed" col:"missed"`
		Own      string  `json:"own,omitempty" col:""` // the request's own batch
	}
	replayRow struct {
		Policy   string  `json:"policy" col:"policy"`
		Met      int     `json:"met" col:"met"`
		Share    float64 `json:"share" col:"share,%.4f"`
		Accuracy float64 `json:"accuracy" col:"accuracy,%.4f"`
		Request  string  `json:"request" col:"the request"`
	}
)

func (j *flightJob) run(path string, out io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	f, err := serve.DecodeFlight(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	m, r, err := j.choose(f)
	if err != nil {
		return err
	}
	if j.svg != "" {
		if err := j.draw(f, m, r); err != nil {
			return err
		}
	}
	report := reportFlight(f, m, r)
	if report.Replays, err = j.replay(m, r); err != nil {
		return err
	}
	return report.print(out, j.asJSON)
}

// choose returns the model and the request to look at, which may be nil.
func (j *flightJob) choose(f *serve.Flight) (*flight.Model, *serve.Record, error) {
	models, err := flight.Models(f)
	if err != nil {
		return nil, nil, err
	}
	name, id := j.model, j.request
	if f.Miss != nil {
		name, id = cmp.Or(name, f.Miss.Model), cmp.Or(id, f.Miss.ID)
	}
	var names []string
	for _, m := range models {
		names = append(names, m.Name)
		if m.Name != cmp.Or(name, m.Name) {
			continue
		}
		r := m.Request(id)
		if missed := m.Missed(); r == nil && j.request != 0 {
			return nil, nil, usagef("--request %d is not in the flight of model %s", j.request, m.Name)
		} else if r == nil && len(missed) > 0 {
			r = missed[0]
		}
		return m, r, nil
	}
	return nil, nil, usagef("--model %s is not in the flight, which has %q", name, strings.Join(names, ", "))
}

func (j *flightJob) draw(f *serve.Flight, m *flight.Model, r *serve.Record) error {
	from, to := f.From, f.To
	if r != nil && j.window > 0 {
		from, to = r.Arrival-j.window, max(r.Deadline, r.Done)+j.window
	}
	return atomicfile.Write(j.svg, func(w io.Writer) error {
		_, err := w.Write(m.SVG(from, to, r))
		return err
	})
}

func reportFlight(f *serve.Flight, m *flight.Model, r *serve.Record) *flightReport {
	recorded, missed := m.Recorded(), m.Missed()
	report := &flightReport{
		Written: f.Epoch.Add(f.To).UTC().Format(time.RFC3339), Version: f.Version, Seconds: (f.To - f.From).Seconds(),
		Model: m.Name, Policy: m.Policy, Workers: m.Workers, Pace: m.Pace,
		Requests: recorded.Requests, Met: recorded.Met, Missed: len(missed), Causes: []flightCause{},
	}
	report.Rate = float64(recorded.Requests) / max(f.To-m.Since, time.Millisecond).Seconds()
	for _, r := range missed {
		cause := m.Explain(r).Cause
		at := slices.IndexFunc(report.Causes, func(c flightCause) bool { return c.Cause == cause })
		if at < 0 {
			at = len(report.Causes)
			report.Causes = append(report.Causes, flightCause{Cause: cause, Example: r.ID})
		}
		report.Causes[at].Requests++
	}
	slices.SortStableFunc(report.Causes, func(a, b flightCause) int { return cmp.Compare(b.Requests, a.Requests) })
	if r != nil {
		report.Request = reportRequest(m, r)
	}
	return report
}

// reportRequest tells of one request, and of the batches that ran meanwhile.
func reportRequest(m *flight.Model, r *serve.Record) *flightMiss {
	t := &flightMiss{
		ID: r.ID, Tenant: r.Tenant, Had: millis(r.Deadline - r.Arrival), Images: r.Images, Outcome: r.Outcome(),
		Attempts: r.Attempts, BatchSize: r.BatchImages, Batches: []flightRow{},
	}
	if !r.Waits() {
		t.After = millis(r.Done - r.Arrival)
	}
	if r.Missed() {
		v := m.Explain(r)
		t.Cause, t.Text = v.Cause, v.Text
	}
	t.Waited, _ = m.Ahead(r)
	if r.Batch > 0 {
		t.Queue, t.Gather = millis(r.Began-r.Arrival), millis(r.Started-r.Began)
		t.Compute, t.Scatter = millis(r.Computed-r.Started), millis(r.Done-r.Computed)
	}
	for _, b := range m.During(r.Arrival, max(r.Deadline, r.Done)) {
		row := flightRow{
			Model: b.Model.Name, Batch: b.Number, Worker: b.Worker, Subnet: b.SubnetName(), Images: b.Images,
			Start: millis(b.Dispatched - r.Arrival), End: millis(b.Computed - r.Arrival),
			Free: millis(b.Done - r.Arrival), Profiled: millis(b.Profiled), Missed: b.Missed,
		}
		if b.Number == r.Batch {
			row.Own = "its own"
		}
		t.Batches = append(t.Batches, row)
	}
	return t
}

// replay simulates the policies, after the one that ran: how far its replay is from
// what was recorded says how much to believe of the others.
func (j *flightJob) replay(m *flight.Model, r *serve.Record) (rows []replayRow, err error) {
	if len(j.policies) == 0 {
		return nil, nil
	}
	add := func(p *flight.Replay, name string) {
		row := replayRow{Policy: name, Met: p.Met, Share: float64(p.Met) / float64(max(p.Requests, 1)), Accuracy: p.Accuracy}
		if r != nil && !r.Waits() {
			row.Request = map[bool]string{true: "met", false: "missed"}[p.MetRequest(r.ID)]
		}
		rows = append(rows, row)
	}
	add(m.Recorded(), m.Policy+", recorded")
	for _, policy := range append([]string{m.Policy}, slices.DeleteFunc(slices.Clone(j.policies), func(p string) bool { return p == m.Policy })...) {
		if _, err := sched.ParsePolicy(policy, m.Profile, m.Options()); err != nil {
			return nil, usagef("--policy: %v", err)
		}
		p, err := m.Replay(policy)
		if err != nil {
			return nil, err
		}
		add(p, policy+", replayed")
	}
	return rows, nil
}

func (t *flightReport) print(out io.Writer, asJSON bool) error {
	if err := printRecord(out, asJSON, *t); err != nil || asJSON {
		return err
	}
	gap := func() { fmt.Fprintln(out) }
	if len(t.Causes) > 0 {
		gap()
		if err := printTable(out, false, t.Causes); err != nil {
			return err
		}
	}
	if t.Request != nil {
		gap()
		if err := printRecord(out, false, *t.Request); err != nil {
			return err
		}
		if len(t.Request.Batches) > 0 {
			gap()
			if err := printTable(out, false, t.Request.Batches); err != nil {
				return err
			}
		}
	}
	if len(t.Replays) > 0 {
		gap()
		return printTable(out, false, t.Replays)
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
