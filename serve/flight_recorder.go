package serve

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/trace"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/atomicfile"
)

// FlightOptions say which flights are kept, and where.
type FlightOptions struct {
	// Dir is the folder of the files. It is made if it is missing.
	Dir string
	// Before and After are how much of what happened around a miss is kept
	// (0: DefaultFlightBefore, DefaultFlightAfter).
	Before, After time.Duration
	// Every is the least time between two files for misses (0: DefaultFlightEvery).
	Every time.Duration
	// Keep is the number of files that are kept, the latest (0: DefaultFlightKeep).
	Keep int
	// Trace writes the trace of the Go runtime for that time beside each file.
	// While it is recorded the server is slower by some per cent.
	Trace bool
	// Version is that of the program.
	Version string
	// Log is told of files that could be written or not (nil: nothing is logged).
	Log *slog.Logger
}

// Defaults of FlightOptions.
const (
	DefaultFlightBefore = 10 * time.Second
	DefaultFlightAfter  = time.Second
	DefaultFlightEvery  = time.Minute
	DefaultFlightKeep   = 20
)

func (o *FlightOptions) setDefaults() {
	o.Before = cmp.Or(o.Before, DefaultFlightBefore)
	o.After = cmp.Or(o.After, DefaultFlightAfter)
	o.Every = cmp.Or(o.Every, DefaultFlightEvery)
	o.Keep = cmp.Or(o.Keep, DefaultFlightKeep)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// FlightRecorder writes files of what a server did around missed deadlines. It is
// safe for concurrent use.
type FlightRecorder struct {
	server *Server
	opt    FlightOptions
	trace  *trace.FlightRecorder // nil: not wanted

	mu   sync.Mutex // held while a file is written
	last string     // its name
}

// NewFlightRecorder returns a recorder of the server's flights. Its Run waits for misses.
func (s *Server) NewFlightRecorder(opt FlightOptions) (*FlightRecorder, error) {
	opt.setDefaults()
	if err := os.MkdirAll(opt.Dir, 0o777); err != nil {
		return nil, fmt.Errorf("make the folder for flights: %w", err)
	}
	if err := writable(opt.Dir); err != nil {
		return nil, fmt.Errorf("no flight can be written, choose another folder: %w", err)
	}
	f := &FlightRecorder{server: s, opt: opt}
	if opt.Trace {
		f.trace = trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: opt.Before + opt.After})
		if err := f.trace.Start(); err != nil {
			return nil, fmt.Errorf("record the trace of the runtime: %w", err)
		}
	}
	return f, nil
}

// writable reports an error unless files can be made in the folder.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, "flight-*.try")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Run writes a file for a missed deadline, and then for none until
// FlightOptions.Every has passed, until ctx ends.
func (f *FlightRecorder) Run(ctx context.Context) {
	if f.trace != nil {
		defer f.trace.Stop()
	}
	for {
		select { // one of before it was due is of no interest
		case <-f.server.missed:
		default:
		}
		var miss Miss
		select {
		case <-ctx.Done():
			return
		case miss = <-f.server.missed:
		}
		began := time.Now()
		cut := !sleep(ctx, f.opt.After)
		if path, err := f.write(FlightMissed, &miss); err != nil {
			f.opt.Log.Warn("flight not recorded", slog.Any("error", err))
		} else {
			f.opt.Log.Info("a deadline was missed", slog.String("model", miss.Model), slog.String("flight", path))
		}
		if cut || !sleep(ctx, f.opt.Every-time.Since(began)) {
			return
		}
	}
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Dump writes a file of what happened until now, and returns its path.
func (f *FlightRecorder) Dump() (path string, err error) { return f.write(FlightAsked, nil) }

func (f *FlightRecorder) write(reason string, miss *Miss) (path string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	flight := f.server.Flight(f.opt.Before + f.opt.After)
	flight.Version, flight.Reason, flight.Miss = f.opt.Version, reason, miss
	name := flight.Epoch.Add(flight.To).UTC().Format("flight-20060102T150405.000000000Z")
	if name <= f.last { // the clock was set back
		name = f.last + "+"
	}
	f.last = name
	path = filepath.Join(f.opt.Dir, name+flightSuffix)
	if err := atomicfile.Write(path, flight.Encode); err != nil {
		return "", err
	}
	if f.trace != nil {
		if err := f.writeTrace(filepath.Join(f.opt.Dir, name+traceSuffix)); err != nil {
			return path, err
		}
	}
	return path, f.prune()
}

// writeTrace collects the trace first, so that the disk doesn't hold it up.
func (f *FlightRecorder) writeTrace(path string) error {
	var b bytes.Buffer
	if _, err := f.trace.WriteTo(&b); err != nil {
		return fmt.Errorf("record the trace of the runtime: %w", err)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := b.WriteTo(w)
		return err
	})
}

// How the files end.
const (
	flightSuffix = ".jsonl"
	traceSuffix  = ".trace"
)

// prune removes the oldest files, as far as there are too many.
func (f *FlightRecorder) prune() error {
	for _, suffix := range []string{flightSuffix, traceSuffix} {
		entries, err := os.ReadDir(f.opt.Dir) // sorted by name, and thus by time
		if err != nil {
			return fmt.Errorf("look for old flights: %w", err)
		}
		entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
			return !strings.HasPrefix(e.Name(), "flight-") || !strings.HasSuffix(e.Name(), suffix)
		})
		for _, e := range entries[:max(len(entries)-f.opt.Keep, 0)] {
			if err := os.Remove(filepath.Join(f.opt.Dir, e.Name())); err != nil {
				return fmt.Errorf("remove an old flight: %w", err)
			}
		}
	}
	return nil
}

// Flight returns what the server did in the time before now.
func (s *Server) Flight(before time.Duration) *Flight {
	to := s.Now()
	f := &Flight{FlightHeader: FlightHeader{
		Format: flightFormat, Reason: FlightAsked, Epoch: s.pool.epoch, From: max(to-before, 0), To: to,
	}}
	for _, name := range s.Models() {
		if r := s.Router(name); r != nil {
			f.Models = append(f.Models, r.flightSince(f.From))
		}
	}
	return f
}

// flightSince returns what the router did since then.
func (r *Router) flightSince(from time.Duration) FlightModel {
	st := r.Status()
	p, opt := r.model.Profile, &r.opt.Sched
	m := FlightModel{
		Name: r.model.Name, Policy: r.Policy(), SLO: r.opt.SLO,
		Margin: opt.Margin, MaxQueue: opt.MaxQueue, MaxAttempts: opt.MaxAttempts,
		FixedProfile: opt.FixedProfile, Shares: opt.Shares, Buckets: opt.Buckets,
		Workers: st.Workers, Free: st.Free, WaitingRequests: st.WaitingRequests, WaitingImages: st.WaitingImages,
		Pace: st.Pace, Since: from, MaxBatch: p.MaxBatch,
	}
	for _, s := range p.Subnets {
		m.Subnets = append(m.Subnets, FlightSubnet(s))
	}
	decisions, _ := r.Timeline(nil)
	m.Decisions = slices.DeleteFunc(decisions, func(d Decision) bool { return d.At < from })
	records, total := r.Recent(nil, 0)
	if total > uint64(len(records)) && len(records) > 0 {
		m.Since = max(from, records[0].Done)
	}
	m.Records = slices.DeleteFunc(records, func(rec Record) bool { return rec.Done < from })
	m.Records = r.recordWaiting(m.Records)
	return m
}

// recordWaiting appends the requests that wait or run.
func (r *Router) recordWaiting(dst []Record) []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.slots.ids(nil) {
		dst = append(dst, r.slots.get(id).record(id))
	}
	return dst
}
