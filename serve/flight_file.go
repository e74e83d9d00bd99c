package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"weft/sched"
)

// Flight is what a server did around a moment, as a flight's file has it: lines
// of JSON, each an object of one key. First comes the flight, then each model,
// followed by its decisions and requests. docs/observability.md describes them.
type Flight struct {
	FlightHeader
	Models []FlightModel
}

// FlightHeader says what a flight is of.
type FlightHeader struct {
	Format  int           `json:"format"`
	Version string        `json:"version,omitempty"` // of the program
	Reason  string        `json:"reason"`            // FlightMissed or FlightAsked
	Miss    *Miss         `json:"miss,omitempty"`    // why the file was written
	Epoch   time.Time     `json:"epoch"`             // the server's start
	From    time.Duration `json:"from_ns"`           // since then
	To      time.Duration `json:"to_ns"`             // when the file was written
}

// The reasons for a flight.
const (
	FlightMissed = "missed" // a request missed its deadline
	FlightAsked  = "asked"  // somebody asked
)

// flightFormat is the version of the files' format.
const flightFormat = 1

// FlightModel is what a model's router knew and did.
type FlightModel struct {
	Name   string        `json:"name"`
	Policy string        `json:"policy"`
	SLO    time.Duration `json:"slo_ns"`
	// The scheduler's options; see sched.Options.
	Margin       time.Duration      `json:"margin_ns"`
	MaxQueue     int                `json:"max_queue"`
	MaxAttempts  int                `json:"max_attempts,omitempty"`
	FixedProfile bool               `json:"fixed_profile,omitempty"`
	Shares       map[string]float64 `json:"shares,omitempty"`
	Buckets      int                `json:"buckets,omitempty"`

	// At Flight.To:
	Workers         int     `json:"workers"` // up
	Free            int     `json:"free"`    // up and idle
	WaitingRequests int     `json:"waiting_requests"`
	WaitingImages   int     `json:"waiting_images"`
	Pace            float64 `json:"pace"` // see Status

	// Since is when the records begin to be complete.
	Since    time.Duration  `json:"since_ns"`
	MaxBatch int            `json:"max_batch"`
	Subnets  []FlightSubnet `json:"subnets"`

	Decisions []Decision `json:"-"` // in their order
	Records   []Record   `json:"-"` // ended ones in the order of their ends, then the others
}

// FlightSubnet is a subnet of the profile.
type FlightSubnet struct {
	Name     string          `json:"name"`
	Accuracy float64         `json:"accuracy"`
	Latency  []time.Duration `json:"latency_ns"` // by batch size less one
}

// Profile returns the profile by which the model was served.
func (m *FlightModel) Profile() (*sched.Profile, error) {
	subnets := make([]sched.Subnet, len(m.Subnets))
	for i, s := range m.Subnets {
		subnets[i] = sched.Subnet{Name: s.Name, Accuracy: s.Accuracy, Latency: s.Latency}
	}
	p, err := sched.NewProfile(subnets, m.MaxBatch)
	if err == nil && len(p.Subnets) != len(subnets) {
		err = fmt.Errorf("only %d of its %d subnets are worth serving: the file is damaged", len(p.Subnets), len(subnets))
	}
	return p, err
}

// Options returns the options of the model's scheduler.
func (m *FlightModel) Options() sched.Options {
	return sched.Options{
		Margin: m.Margin, MaxQueue: m.MaxQueue, MaxAttempts: m.MaxAttempts,
		FixedProfile: m.FixedProfile, Shares: m.Shares, Buckets: m.Buckets,
	}
}

// flightLine is a line of the file. One field is set.
type flightLine struct {
	Flight   *FlightHeader `json:"flight,omitempty"`
	Model    *FlightModel  `json:"model,omitempty"`
	Decision *Decision     `json:"decision,omitempty"`
	Request  *Record       `json:"request,omitempty"`
}

// Encode writes the flight as lines of JSON.
func (f *Flight) Encode(w io.Writer) error {
	enc := json.NewEncoder(w)
	err := enc.Encode(flightLine{Flight: &f.FlightHeader})
	put := func(l flightLine) {
		if err == nil {
			err = enc.Encode(l)
		}
	}
	for i := range f.Models {
		m := &f.Models[i]
		put(flightLine{Model: m})
		for j := range m.Decisions {
			put(flightLine{Decision: &m.Decisions[j]})
		}
		for j := range m.Records {
			put(flightLine{Request: &m.Records[j]})
		}
	}
	return err
}

// maxFlightLines bounds what DecodeFlight reads.
const maxFlightLines = 1 << 22

// DecodeFlight reads what Encode wrote. All indices are in range in what it returns.
func DecodeFlight(r io.Reader) (*Flight, error) {
	dec := json.NewDecoder(r)
	var f *Flight
	for n := 1; ; n++ {
		var l flightLine
		err := dec.Decode(&l)
		switch {
		case errors.Is(err, io.EOF) && f != nil:
			return f, nil
		case errors.Is(err, io.EOF):
			return nil, errors.New("read flight: the file is empty: name one that a server wrote to its --flight-dir")
		case err != nil:
			return nil, fmt.Errorf("read flight: line %d: %w", n, err)
		case n > maxFlightLines:
			return nil, fmt.Errorf("read flight: more than %d lines: the file is damaged", maxFlightLines)
		case f == nil && (l.Flight == nil || l.Flight.Format < 1):
			return nil, errors.New("read flight: the first line describes no flight: name a file that a server wrote to its --flight-dir")
		case f == nil && l.Flight.Format > flightFormat:
			return nil, fmt.Errorf("read flight: its format is %d and this program knows %d: use a newer weft", l.Flight.Format, flightFormat)
		case f == nil:
			f = &Flight{FlightHeader: *l.Flight}
			continue
		}
		if err := f.take(&l); err != nil {
			return nil, fmt.Errorf("read flight: line %d: %w", n, err)
		}
	}
}

// take adds a line after the first.
func (f *Flight) take(l *flightLine) error {
	if l.Model != nil {
		if _, err := l.Model.Profile(); err != nil {
			return fmt.Errorf("model %s: %w", l.Model.Name, err)
		}
		f.Models = append(f.Models, *l.Model)
		return nil
	}
	if len(f.Models) == 0 {
		return errors.New("it belongs to no model: the file is damaged")
	}
	m := &f.Models[len(f.Models)-1]
	known := func(subnet, worker int) bool { return 0 <= subnet && subnet < len(m.Subnets) && 0 <= worker }
	switch {
	case l.Decision != nil && known(l.Decision.Subnet, l.Decision.Worker):
		m.Decisions = append(m.Decisions, *l.Decision)
	case l.Request != nil && known(l.Request.Subnet, l.Request.Worker) && l.Request.valid(m):
		m.Records = append(m.Records, *l.Request)
	default:
		return errors.New("it is no decision or request of the model before it: the file is damaged")
	}
	return nil
}

// valid reports whether the record may be one of the model's.
func (r *Record) valid(m *FlightModel) bool {
	return 1 <= r.Images && r.Images <= m.MaxBatch && sched.AnySubnet <= r.Pin && r.Pin < len(m.Subnets) &&
		0 <= r.BatchImages && r.BatchImages <= m.MaxBatch && (r.Batch > 0) == (r.BatchImages > 0) &&
		int(r.Code) < len(codeNames) && r.Late <= sched.Serve
}
