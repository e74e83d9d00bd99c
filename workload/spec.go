package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// Parse makes the trace that a spec describes; the same seed gives the same trace.
//
//	poisson:500                                   500 a second, exponential gaps
//	bursty:base=300,var=700,cv2=4,for=60s         constant gaps merged with gamma gaps
//	ramp:from=300,to=900,accel=50,cv2=8,for=60s   gamma gaps whose rate climbs by 50/s²
//	FILE                                          see Read
//
// cv2 is the squared coefficient of variation of the gamma gaps, by default 1;
// for is by default 60s. The processes are those of SuperServe, section 6.1 and
// A.3: gamma gaps of shape 1/CV² and scale CV²/rate.
func Parse(spec string, seed uint64) (*Trace, error) {
	kind, list, ok := strings.Cut(spec, ":")
	if !ok || !slices.Contains([]string{"poisson", "bursty", "ramp"}, kind) {
		return ReadFile(spec)
	}
	args, err := parseArgs(list)
	if err != nil {
		return nil, fmt.Errorf("trace %s: %w", spec, err)
	}
	var arrivals []time.Duration
	switch kind {
	case "poisson":
		arrivals, err = args.poisson(seed)
	case "bursty":
		arrivals, err = args.bursty(seed)
	case "ramp":
		arrivals, err = args.ramp(seed)
	}
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

// Poisson returns arrivals of that mean rate (1/s) with exponential gaps.
func Poisson(rate float64, length time.Duration, seed uint64) []time.Duration {
	return Gamma(rate, 1, length, seed)
}

// Gamma returns arrivals of that mean rate (1/s) whose gaps are gamma
// distributed with squared coefficient of variation cv2 (0: constant gaps).
func Gamma(rate, cv2 float64, length time.Duration, seed uint64) []time.Duration {
	return renewal(func(float64) float64 { return rate }, cv2, length, seed)
}

// Bursty returns SuperServe's bursty trace: a base stream of constant gaps
// merged with a stream of gamma gaps. Rates are in 1/s.
func Bursty(base, variant, cv2 float64, length time.Duration, seed uint64) []time.Duration {
	arrivals := slices.Concat(Gamma(base, 0, length, seed), Gamma(variant, cv2, length, seed))
	slices.Sort(arrivals)
	return arrivals
}

// Ramp returns SuperServe's time-varying trace: the rate goes from one value
// (1/s) to the other by accel (1/s²), the next gap being gamma distributed with
// the mean that the rate of the moment gives.
func Ramp(from, to, accel, cv2 float64, length time.Duration, seed uint64) []time.Duration {
	rate := func(t float64) float64 {
		if to < from {
			return max(from-accel*t, to)
		}
		return min(from+accel*t, to)
	}
	return renewal(rate, cv2, length, seed)
}

// maxCV2 keeps gaps apart from 0: beyond it nearly all of them underflow.
const maxCV2 = 100

// renewal draws gaps of mean 1/rate(t) one after the other.
func renewal(rate func(t float64) float64, cv2 float64, length time.Duration, seed uint64) []time.Duration {
	if rate(0) <= 0 {
		return nil
	}
	unit := func() float64 { return 1 }
	if cv2 > 0 {
		unit = distuv.Gamma{Alpha: 1 / cv2, Beta: 1 / cv2, Src: rand.NewPCG(seed, 0)}.Rand
	}
	var arrivals []time.Duration
	t := 0.0
	for {
		t += unit() / rate(t)
		if t >= length.Seconds() {
			return arrivals
		}
		arrivals = append(arrivals, fromSeconds(t))
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
	if cv2, err = a.number("cv2", 1); err != nil {
		return 0, 0, err
	}
	if cv2 > maxCV2 {
		return 0, 0, fmt.Errorf("cv2=%v: give 0 to %d", cv2, maxCV2)
	}
	length = time.Minute
	if text, ok := a["for"]; ok {
		delete(a, "for")
		if length, err = time.ParseDuration(text); err != nil || length <= 0 {
			return 0, 0, fmt.Errorf("for=%s: give a duration such as 60s", text)
		}
	}
	if n := peak * length.Seconds(); n > maxArrivals {
		return 0, 0, fmt.Errorf("%.0f arrivals are more than %d: lower the rate or for=", n, maxArrivals)
	}
	return cv2, length, nil
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
	cv2, length, err := a.shape(max(v[0], v[1]))
	if err != nil {
		return nil, err
	}
	return Ramp(v[0], v[1], v[2], cv2, length, seed), nil
}
