package workload

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds that keep a slip of the pen from filling the memory.
const (
	maxArrivals = 20_000_000
	maxBinsRead = 10_000_000
	maxSeconds  = 1e8 // three years
)

// records returns a function that returns the next record of CSV, its line, and io.EOF
// at the end. The record is valid until the next call.
func records(r io.Reader) func() ([]string, int, error) {
	c := csv.NewReader(r)
	c.Comment = '#'
	c.FieldsPerRecord = -1
	c.ReuseRecord = true
	c.TrimLeadingSpace = true
	return func() ([]string, int, error) {
		record, err := c.Read()
		if err != nil {
			return nil, 0, err
		}
		line, _ := c.FieldPos(0)
		return record, line, nil
	}
}

// field parses one as a number in [0, most).
func field(text string, most float64) (float64, bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return v, err == nil && v >= 0 && v < most
}

// collector gathers arrivals.
type collector struct{ arrivals []time.Duration }

func (c *collector) add(line int, at time.Duration) error {
	if len(c.arrivals) == maxArrivals {
		return fmt.Errorf("line %d: more than %d arrivals: cut the trace", line, maxArrivals)
	}
	c.arrivals = append(c.arrivals, at)
	return nil
}

// end returns the arrivals unless the error is another than the end of the file.
func (c *collector) end(err error) ([]time.Duration, error) {
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(c.arrivals) == 0 {
		return nil, errors.New("no arrivals: give one a line, in seconds since the start")
	}
	return c.arrivals, nil
}

func readArrivals(r io.Reader) ([]time.Duration, error) {
	var c collector
	next := records(r)
	for first := true; ; first = false {
		record, line, err := next()
		if err != nil {
			return c.end(err)
		}
		seconds, ok := field(record[0], maxSeconds)
		if !ok {
			if _, err := strconv.ParseFloat(strings.TrimSpace(record[0]), 64); err != nil && first {
				continue // a header
			}
			return nil, fmt.Errorf("line %d: %q is no arrival: give seconds since the start", line, record[0])
		}
		if err := c.add(line, fromSeconds(seconds)); err != nil {
			return nil, err
		}
	}
}

func readAzure2021(r io.Reader) ([]time.Duration, error) {
	var c collector
	next := records(r)
	header, _, err := next()
	if err != nil {
		return c.end(err)
	}
	end, duration := slices.Index(header, "end_timestamp"), slices.Index(header, "duration")
	if end < 0 || duration < 0 {
		return nil, errors.New("the first line does not name the columns end_timestamp and duration: name them")
	}
	for {
		record, line, err := next()
		if err != nil {
			return c.end(err)
		}
		if len(record) <= max(end, duration) {
			return nil, fmt.Errorf("line %d has %d columns, the first line has more: mend it", line, len(record))
		}
		ended, ok := field(record[end], maxSeconds)
		took, ok2 := field(record[duration], maxSeconds)
		if !ok || !ok2 {
			return nil, fmt.Errorf("line %d: end %q and duration %q: give seconds", line, record[end], record[duration])
		}
		if took > ended {
			continue // it was under way already
		}
		if err := c.add(line, fromSeconds(ended-took)); err != nil {
			return nil, err
		}
	}
}

// stampLayouts are those of the LLM traces of 2023 and 2024; fractions are read by either.
var stampLayouts = []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05-07:00"}

func readAzureLLM(r io.Reader) ([]time.Duration, error) {
	var c collector
	next := records(r)
	if _, _, err := next(); err != nil {
		return c.end(err)
	}
	var first time.Time
	var record []string
	var line int
	var err error
	for record, line, err = next(); err == nil; record, line, err = next() {
		at, bad := stamp(record[0])
		if bad != nil {
			return nil, fmt.Errorf("line %d: %q is no time: give it as 2023-11-16 18:17:03.9799600", line, record[0])
		}
		if first.IsZero() {
			first = at
		}
		since := at.Sub(first)
		if since.Abs() >= maxSeconds*time.Second {
			return nil, fmt.Errorf("line %d: %q is years from the first time: mend it", line, record[0])
		}
		if err := c.add(line, since); err != nil {
			return nil, err
		}
	}
	arrivals, err := c.end(err)
	if err != nil {
		return nil, err
	}
	earliest := slices.Min(arrivals)
	for i := range arrivals {
		arrivals[i] -= earliest
	}
	return arrivals, nil
}

func stamp(text string) (at time.Time, err error) {
	for _, layout := range stampLayouts {
		if at, err = time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return at, err
}

func readRates(r io.Reader) (Rates, error) {
	rates := Rates{Bin: time.Second}
	words := bufio.NewScanner(r)
	words.Split(bufio.ScanWords)
	for words.Scan() {
		v, ok := field(words.Text(), math.MaxInt32)
		if !ok {
			return rates, fmt.Errorf("value %d: %q is no rate: give arrivals a second", len(rates.PerSecond)+1, words.Text())
		}
		if len(rates.PerSecond) == maxBinsRead {
			return rates, fmt.Errorf("more than %d rates: cut the trace", maxBinsRead)
		}
		rates.PerSecond = append(rates.PerSecond, v)
	}
	if len(rates.PerSecond) == 0 && words.Err() == nil {
		return rates, errors.New("no rates: give arrivals a second, with white space between")
	}
	return rates, words.Err()
}

// azureColumns are those before the counts.
const azureColumns = 4

func readAzure2019(r io.Reader) (Rates, error) {
	rates := Rates{Bin: time.Minute}
	next := records(r)
	header, _, err := next()
	if err != nil || len(header) <= azureColumns || header[0] != "HashOwner" {
		return rates, errors.New("the first line is not HashOwner,HashApp,HashFunction,Trigger,1,...,1440: give a file of invocations per function")
	}
	rates.PerSecond = make([]float64, len(header)-azureColumns)
	for {
		record, line, err := next()
		if errors.Is(err, io.EOF) {
			return rates, nil
		}
		if err != nil {
			return rates, err
		}
		if len(record) != azureColumns+len(rates.PerSecond) {
			return rates, fmt.Errorf("line %d has %d columns, the first line has %d: mend it", line, len(record), azureColumns+len(rates.PerSecond))
		}
		for i, text := range record[azureColumns:] {
			v, ok := field(text, math.MaxInt32)
			if !ok {
				return rates, fmt.Errorf("line %d, minute %d: %q is no count: give a whole number", line, i+1, text)
			}
			rates.PerSecond[i] += v / rates.Bin.Seconds()
		}
	}
}

func fromSeconds(s float64) time.Duration {
	return time.Duration(math.Round(s * float64(time.Second)))
}
