package workload

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parse makes the trace that a spec describes; the same seed gives the same trace.
//
//	poisson:500                                   500 a second, exponential gaps
//	bursty:base=300,var=700,cv2=4,for=60s         constant gaps merged with gamma gaps
//	ramp:from=300,to=900,accel=50,cv2=8,for=60s   gamma gaps whose rate climbs by 50/s², after after=
//	maf:mean=6400,peak=8750,cv2=1,for=120s        a day of cloud functions in short, synthesised (MAF)
//	FILE                                          see Read
//	file:FILE,from=1h,take=10m,for=60s,rate=500   a part of it, squeezed, at that mean rate; see Options
//
// cv2 is the squared coefficient of variation of the gamma gaps, by default 1;
// for is by default 60s, of a file its own length. Files of counts take cv2 too, and
// format= says what is not told by the beginning of a file. The processes are those of
// SuperServe, section 6.1 and A.3: gamma gaps of shape 1/CV² and scale CV²/rate.
func Parse(spec string, seed uint64) (*Trace, error) {
	kind, list, _ := strings.Cut(spec, ":")
	if kind == "file" {
		return parseFile(list, seed)
	}
	parse := kinds[kind]
	if parse == nil {
		return ReadFile(spec, Options{CV2: 1, Seed: seed})
	}
	args, err := parseArgs(list)
	if err != nil {
		return nil, fmt.Errorf("trace %s: %w", spec, err)
	}
	arrivals, err := parse(args, seed)
	if err == nil {
		err = args.unused()
	}
	if err != nil {
		return nil, fmt.Errorf("trace %s: %w", spec, err)
	}
	if len(arrivals) == 0 {
		return nil, fmt.Errorf("trace %s: nothing arrives: raise the rate or for=", spec)
	}
	return &Trace{Spec: spec, Arrivals: arrivals}, nil
}

var kinds = map[string]func(args, uint64) ([]time.Duration, error){
	"poisson": args.poisson,
	"bursty":  args.bursty,
	"ramp":    args.ramp,
	"maf":     args.maf,
}

// Forms returns the forms of specs, as Parse has them.
func Forms() []string {
	return []string{
		"poisson:500,for=60s",
		"bursty:base=300,var=700,cv2=4,for=60s",
		"ramp:from=300,to=900,accel=50,cv2=8,after=5s,for=60s",
		"maf:mean=500,peak=700,cv2=1,for=120s",
		"FILE",
		"file:FILE,from=1h,take=10m,for=60s,rate=500",
	}
}

// args are the parameters of a spec; the one without a name has the name "".
type args map[string]string

func parseArgs(list string) (args, error) {
	a := args{}
	for part := range strings.SplitSeq(list, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			key, value = "", key
		}
		if _, twice := a[key]; twice {
			return nil, fmt.Errorf("%q is given twice", part)
		}
		a[key] = value
	}
	return a, nil
}

// number takes a parameter out; a negative otherwise means that it must be given.
func (a args) number(key string, otherwise float64) (float64, error) {
	text, ok := a[key]
	delete(a, key)
	if !ok && otherwise >= 0 {
		return otherwise, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v < math.MaxInt32) {
		return 0, fmt.Errorf("%q: give a number from 0 to %d", strings.Trim(key+"="+text, "="), math.MaxInt32-1)
	}
	return v, nil
}

// numbers takes several parameters out that must be given.
func (a args) numbers(keys ...string) (v [3]float64, err error) {
	for i, key := range keys {
		if v[i], err = a.number(key, -1); err != nil {
			return v, err
		}
	}
	return v, nil
}

// shape takes cv2 and for out and checks that peak arrivals a second fit.
func (a args) shape(peak float64) (cv2 float64, length time.Duration, err error) {
	if cv2, err = a.cv2(); err != nil {
		return 0, 0, err
	}
	if length, err = a.duration("for", time.Minute); err != nil {
		return 0, 0, err
	}
	if length == 0 {
		return 0, 0, errors.New("for=0s: give a duration such as 60s")
	}
	if n := peak * length.Seconds(); n > maxArrivals {
		return 0, 0, fmt.Errorf("%.0f arrivals are more than %d: lower the rate or for=", n, maxArrivals)
	}
	return cv2, length, nil
}

func (a args) cv2() (float64, error) {
	cv2, err := a.number("cv2", 1)
	if err == nil && cv2 > maxCV2 {
		err = fmt.Errorf("cv2=%v: give 0 to %d", cv2, maxCV2)
	}
	return cv2, err
}

// duration takes a parameter out that is a length of time.
func (a args) duration(key string, otherwise time.Duration) (time.Duration, error) {
	text, ok := a[key]
	delete(a, key)
	if !ok {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxSeconds*time.Second {
		return 0, fmt.Errorf("%s=%s: give a duration such as 60s", key, text)
	}
	return d, nil
}

func (a args) unused() error {
	for key, value := range a {
		return fmt.Errorf("unknown parameter %s", strings.Trim(key+"="+value, "="))
	}
	return nil
}

func (a args) poisson(seed uint64) ([]time.Duration, error) {
	v, err := a.numbers("")
	if err != nil {
		return nil, err
	}
	if _, ok := a["cv2"]; ok {
		return nil, fmt.Errorf("poisson has cv2=1: use bursty:base=0,var=%v for another", v[0])
	}
	_, length, err := a.shape(v[0])
	if err != nil {
		return nil, err
	}
	return Poisson(v[0], length, seed), nil
}

func (a args) bursty(seed uint64) ([]time.Duration, error) {
	v, err := a.numbers("base", "var")
	if err != nil {
		return nil, err
	}
	cv2, length, err := a.shape(v[0] + v[1])
	if err != nil {
		return nil, err
	}
	return Bursty(v[0], v[1], cv2, length, seed), nil
}

func (a args) ramp(seed uint64) ([]time.Duration, error) {
	v, err := a.numbers("from", "to", "accel")
	if err != nil {
		return nil, err
	}
	if min(v[0], v[1]) == 0 {
		return nil, fmt.Errorf("from and to must be above 0")
	}
	after, err := a.duration("after", 0)
	if err != nil {
		return nil, err
	}
	cv2, length, err := a.shape(max(v[0], v[1]))
	if err != nil {
		return nil, err
	}
	return Ramp(v[0], v[1], v[2], cv2, after, length, seed), nil
}

// mafPeak is SuperServe's peak, 8750/s, as a multiple of its mean, 6400/s.
const mafPeak = 8750. / 6400

func (a args) maf(seed uint64) ([]time.Duration, error) {
	mean, err := a.number("mean", -1)
	if err != nil {
		return nil, err
	}
	peak, err := a.number("peak", mafPeak*mean)
	if err != nil {
		return nil, err
	}
	if peak < mean {
		return nil, fmt.Errorf("peak=%v is below mean=%v: raise it", peak, mean)
	}
	cv2, length, err := a.shape(peak)
	if err != nil {
		return nil, err
	}
	rates := MAF(mean, peak, length, seed)
	return rates.Arrivals(cv2, seed), nil
}

// fileKeys are the parameters that may follow the name of a file.
var fileKeys = []string{"format", "from", "take", "for", "rate", "cv2"}

// parseFile reads a file with parameters. Its name ends where the parameters begin, and
// may have commas itself.
func parseFile(list string, seed uint64) (*Trace, error) {
	path, rest := list, ""
	for {
		i := strings.LastIndexByte(path, ',')
		key, _, ok := strings.Cut(path[i+1:], "=")
		if i < 0 || !ok || !slices.Contains(fileKeys, key) {
			break
		}
		path, rest = path[:i], path[i:]+rest
	}
	o := Options{Seed: seed}
	if err := o.parse(strings.TrimPrefix(rest, ",")); err != nil {
		return nil, fmt.Errorf("trace file:%s: %w", list, err)
	}
	t, err := ReadFile(path, o)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("trace file:%s: there is no file %s, and the parameters are %s: %w", list, path, strings.Join(fileKeys, ", "), fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	t.Spec = "file:" + list
	return t, nil
}

func (o *Options) parse(list string) (err error) {
	a := args{}
	if list != "" {
		if a, err = parseArgs(list); err != nil {
			return err
		}
	}
	o.Format = a["format"]
	if o.From, err = a.duration("from", 0); err != nil {
		return err
	}
	if o.Take, err = a.duration("take", 0); err != nil {
		return err
	}
	if o.For, err = a.duration("for", 0); err != nil {
		return err
	}
	if o.Rate, err = a.number("rate", 0); err != nil {
		return err
	}
	o.CV2, err = a.cv2()
	return err
}
