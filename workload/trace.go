// Package workload makes load: it generates and reads arrival traces, sends
// requests at their times without waiting for answers (open loop), and accounts
// for what became of each, whether a server or a simulation answered.
package workload

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Trace is a sequence of arrivals.
type Trace struct {
	Spec     string          // what it was made from
	Arrivals []time.Duration // since the start, in order
}

// Duration returns the time of the last arrival.
func (t *Trace) Duration() time.Duration {
	if len(t.Arrivals) == 0 {
		return 0
	}
	return t.Arrivals[len(t.Arrivals)-1]
}

// Rate returns the mean number of arrivals a second.
func (t *Trace) Rate() float64 {
	if d := t.Duration(); d > 0 {
		return float64(len(t.Arrivals)) / d.Seconds()
	}
	return 0
}

// CV2 returns the squared coefficient of variation of the gaps between arrivals.
func (t *Trace) CV2() float64 {
	n := float64(len(t.Arrivals) - 1)
	if n < 1 {
		return 0
	}
	mean := (t.Duration() - t.Arrivals[0]).Seconds() / n
	variance := 0.0
	for i := 1; i < len(t.Arrivals); i++ {
		d := (t.Arrivals[i] - t.Arrivals[i-1]).Seconds() - mean
		variance += d * d / n
	}
	if mean == 0 {
		return 0
	}
	return variance / (mean * mean)
}

// ReadFile reads a trace from a file; see Read.
func ReadFile(path string) (*Trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	defer f.Close()
	t, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("read trace %s: %w", path, err)
	}
	t.Spec = path
	return t, nil
}

// Read reads arrivals, in seconds since the start, from the first column of CSV
// with or without a header, in any order. Lines that begin with # are comments.
func Read(r io.Reader) (*Trace, error) {
	c := csv.NewReader(bufio.NewReader(r))
	c.Comment = '#'
	c.FieldsPerRecord = -1
	c.ReuseRecord = true
	c.TrimLeadingSpace = true
	t := &Trace{}
	for first := true; ; first = false {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		seconds, err := strconv.ParseFloat(strings.TrimSpace(record[0]), 64)
		if err != nil && first {
			continue // a header
		}
		line, _ := c.FieldPos(0)
		if err != nil || !(seconds >= 0 && seconds < maxSeconds) {
			return nil, fmt.Errorf("line %d: %q is no arrival: give seconds since the start", line, record[0])
		}
		if len(t.Arrivals) == maxArrivals {
			return nil, fmt.Errorf("line %d: more than %d arrivals: cut the trace", line, maxArrivals)
		}
		t.Arrivals = append(t.Arrivals, fromSeconds(seconds))
	}
	if len(t.Arrivals) == 0 {
		return nil, errors.New("no arrivals: give one a line, in seconds since the start")
	}
	slices.Sort(t.Arrivals)
	return t, nil
}

// Bounds that keep a slip of the pen from filling the memory.
const (
	maxArrivals = 20_000_000
	maxSeconds  = 1e6
)

func fromSeconds(s float64) time.Duration {
	return time.Duration(math.Round(s * float64(time.Second)))
}
