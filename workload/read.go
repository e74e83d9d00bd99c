package workload

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

// The formats of trace files.
const (
	// FormatArrivals is CSV whose first column has arrivals, in seconds since the
	// start, in any order; a header and lines that begin with # are left out.
	FormatArrivals = "arrivals"
	// FormatRates is arrivals per second, second by second, between white space.
	FormatRates = "rates"
	// FormatAzure2019 is a day of the Azure Functions trace of 2019: HashOwner,
	// HashApp, HashFunction, Trigger, and invocations in each of the minutes 1, 2, ...
	FormatAzure2019 = "azure2019"
	// FormatAzure2021 is the Azure Functions trace of 2021: app, func, end_timestamp,
	// duration, in seconds. An invocation arrives at its end less its duration; those
	// under way when the trace begins are left out.
	FormatAzure2021 = "azure2021"
	// FormatAzureLLM is the Azure LLM inference trace: TIMESTAMP and two counts of tokens.
	FormatAzureLLM = "azurellm"
)

var formats = []string{FormatArrivals, FormatRates, FormatAzure2019, FormatAzure2021, FormatAzureLLM}

// Options say what to make of a trace file. The zero value takes it as it is.
type Options struct {
	// Format is one of the Format constants; "": told by the beginning of the file.
	Format string
	// From and Take choose a part, in the file's own time, files of counts in whole bins
	// (Take 0: all the rest).
	From, Take time.Duration
	// For is the length to which that part is squeezed or stretched (0: as long as it is).
	For time.Duration
	// Rate is the mean of arrivals a second that the trace is to have (0: as it comes).
	// Counts are scaled; arrivals can only be thinned out, at random.
	Rate float64
	// CV2 shapes the gaps where the file has counts: see Rates.Arrivals.
	CV2  float64
	Seed uint64
}

// ReadFile reads a trace from a file; see Read.
func ReadFile(path string, o Options) (*Trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	defer f.Close()
	t, err := Read(f, o)
	if err != nil {
		return nil, fmt.Errorf("read trace %s: %w", path, err)
	}
	t.Spec = path
	return t, nil
}

// Read reads a trace in one of the formats, plain or compressed by gzip or bzip2, alone
// or as the first file of a tar archive.
func Read(r io.Reader, o Options) (*Trace, error) {
	b, err := unpack(r)
	if err != nil {
		return nil, err
	}
	const mark = "\ufeff" // with which some programs begin UTF-8
	if start, _ := b.Peek(len(mark)); string(start) == mark {
		if _, err := b.Discard(len(mark)); err != nil {
			return nil, err
		}
	}
	if o.Format == "" {
		o.Format = sniff(b)
	}
	var (
		arrivals []time.Duration
		rates    Rates
	)
	switch o.Format {
	case FormatArrivals:
		arrivals, err = readArrivals(b)
	case FormatAzure2021:
		arrivals, err = readAzure2021(b)
	case FormatAzureLLM:
		arrivals, err = readAzureLLM(b)
	case FormatRates:
		rates, err = readRates(b)
	case FormatAzure2019:
		rates, err = readAzure2019(b)
	default:
		err = fmt.Errorf("format %q is unknown: choose one of %s", o.Format, strings.Join(formats, ", "))
	}
	if err != nil {
		return nil, err
	}
	if rates.Bin > 0 {
		arrivals, err = o.fromRates(rates)
	} else {
		arrivals, err = o.fromArrivals(arrivals)
	}
	if err == nil && len(arrivals) == 0 {
		err = errors.New("nothing arrives: take another part with from= and take=, or raise rate=")
	}
	return &Trace{Arrivals: arrivals}, err
}

// fromRates draws arrivals at the rates of the part that is asked for.
func (o *Options) fromRates(r Rates) ([]time.Duration, error) {
	n := len(r.PerSecond)
	first := min(int(o.From/r.Bin), n)
	last := n
	if o.Take > 0 && o.Take < time.Duration(n)*r.Bin {
		last = min(int((o.From+o.Take+r.Bin-1)/r.Bin), n)
	}
	if first >= last {
		return nil, fmt.Errorf("from=%v is behind the end of the trace, which has %v", o.From, time.Duration(n)*r.Bin)
	}
	r.PerSecond = slices.Clone(r.PerSecond[first:last])
	if o.For > 0 {
		r = r.squeeze(o.For)
	}
	if o.Rate > 0 {
		r.scale(o.Rate)
	}
	if total := r.total(); total > maxArrivals {
		return nil, fmt.Errorf("%.0f arrivals are more than %d: take a part with take= or lower rate=", total, maxArrivals)
	}
	return r.Arrivals(o.CV2, o.Seed), nil
}

// fromArrivals takes the part that is asked for out of arrivals, which it sorts.
func (o *Options) fromArrivals(arrivals []time.Duration) ([]time.Duration, error) {
	slices.Sort(arrivals)
	first, _ := slices.BinarySearch(arrivals, o.From)
	last := len(arrivals)
	if o.Take > 0 && o.Take < maxSeconds*time.Second {
		last, _ = slices.BinarySearch(arrivals, o.From+o.Take)
	}
	if first >= last {
		return nil, nil
	}
	arrivals = arrivals[first:last]
	length := arrivals[len(arrivals)-1] - o.From
	if o.Take > 0 {
		length = o.Take
	}
	squeeze := 1.0
	if o.For > 0 && length > 0 {
		squeeze = float64(o.For) / float64(length)
		length = o.For
	}
	for i := range arrivals {
		arrivals[i] = time.Duration(float64(arrivals[i]-o.From) * squeeze)
	}
	if o.Rate == 0 {
		return arrivals, nil
	}
	keep := o.Rate * length.Seconds() / float64(len(arrivals))
	if keep > 1.0001 {
		return nil, fmt.Errorf("rate=%v is more than the %.4g/s of the trace: squeeze it with for=%v", o.Rate,
			float64(len(arrivals))/length.Seconds(), time.Duration(float64(length)/keep).Round(time.Millisecond))
	}
	rng := rand.New(rand.NewPCG(o.Seed, 0))
	return slices.DeleteFunc(arrivals, func(time.Duration) bool { return rng.Float64() >= keep }), nil
}

// unpack returns what is inside of the compressions and the archive.
func unpack(r io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	if magic, _ := b.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		b = bufio.NewReaderSize(z, 1<<16)
	} else if magic, _ := b.Peek(3); string(magic) == "BZh" {
		b = bufio.NewReaderSize(bzip2.NewReader(b), 1<<16)
	}
	if head, _ := b.Peek(262); len(head) == 262 && string(head[257:]) == "ustar" {
		return untar(b)
	}
	return b, nil
}

// untar returns the first file of an archive.
func untar(r io.Reader) (*bufio.Reader, error) {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the archive holds no file: give one that does, or the trace itself")
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg {
			return bufio.NewReaderSize(t, 1<<16), nil
		}
	}
}

// sniff tells the format by the first line.
func sniff(b *bufio.Reader) string {
	head, _ := b.Peek(1 << 12)
	line, _, _ := strings.Cut(string(head), "\n")
	switch {
	case strings.HasPrefix(line, "HashOwner"):
		return FormatAzure2019
	case strings.Contains(line, "end_timestamp"):
		return FormatAzure2021
	case strings.HasPrefix(line, "TIMESTAMP"):
		return FormatAzureLLM
	}
	if words := strings.Fields(line); len(words) > 1 && !strings.Contains(line, ",") {
		if _, ok := field(words[0], math.MaxInt32); ok {
			return FormatRates
		}
	}
	return FormatArrivals
}
