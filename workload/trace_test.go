package workload_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/stat/distuv"

	"weft/workload"
)

func parse(t *testing.T, spec string, seed uint64) *workload.Trace {
	t.Helper()
	trace, err := workload.Parse(spec, seed)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(trace.Arrivals) {
		t.Fatalf("%s: arrivals are out of order", spec)
	}
	return trace
}

// near fails unless got is within the relative error of want.
func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance*want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestGamma checks mean rate, CV² and the whole distribution of the gaps.
func TestGamma(t *testing.T) {
	for _, cv2 := range []float64{1, 2, 4, 8} {
		const rate = 1000
		trace := workload.Trace{Arrivals: workload.Gamma(rate, cv2, 100*time.Second, 7)}
		near(t, "rate", trace.Rate(), rate, 0.03)
		near(t, "CV²", trace.CV2(), cv2, 0.06)
		n := len(trace.Arrivals)
		gaps := make([]float64, n-1)
		for i := range gaps {
			gaps[i] = (trace.Arrivals[i+1] - trace.Arrivals[i]).Seconds()
		}
		// Kolmogorov-Smirnov: 1.63/√n is exceeded by chance in 1 of 100 runs.
		// Gaps below the clock's nanosecond are rounded, hence the floor.
		slices.Sort(gaps)
		want := distuv.Gamma{Alpha: 1 / cv2, Beta: rate / cv2}
		distance := 0.0
		for i, g := range gaps {
			if g > 1e-7 {
				distance = max(distance, math.Abs(want.CDF(g)-float64(i)/float64(n)))
			}
		}
		if distance > 1.63/math.Sqrt(float64(n)) {
			t.Errorf("CV² %v: KS distance %v of %d gaps", cv2, distance, n)
		}
	}
}

func TestConstant(t *testing.T) {
	got := workload.Gamma(4, 0, time.Second, 1)
	want := []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSpecs(t *testing.T) {
	poisson := parse(t, "poisson:500,for=60s", 1)
	near(t, "poisson rate", poisson.Rate(), 500, 0.03)
	near(t, "poisson CV²", poisson.CV2(), 1, 0.05)

	bursty := parse(t, "bursty:base=300,var=700,cv2=4,for=60s", 1)
	near(t, "bursty rate", bursty.Rate(), 1000, 0.03)
	base := 0
	for _, at := range bursty.Arrivals {
		phase := math.Mod(at.Seconds()*300, 1)
		if min(phase, 1-phase) < 1e-6 {
			base++
		}
	}
	near(t, "arrivals on the base's beat", float64(base), 300*60, 0.01)

	ramp := parse(t, "ramp:from=300,to=900,accel=50,cv2=8,for=60s", 1)
	near(t, "ramp, climbing", rate(ramp, 0, 12*time.Second), 600, 0.1)
	near(t, "ramp, above", rate(ramp, 12*time.Second, time.Minute), 900, 0.05)

	falling := parse(t, "ramp:from=900,to=300,accel=50,cv2=1,for=60s", 1)
	near(t, "falling", falling.Rate(), (12*600+48*300)/60., 0.05)

	late := parse(t, "ramp:from=300,to=900,accel=50,cv2=0,after=10s,for=60s", 1)
	near(t, "ramp, before it begins", rate(late, 0, 10*time.Second), 300, 0.01)
	near(t, "ramp, begun late", late.Rate(), (10*300+12*600+38*900)/60., 0.01)

	if d := parse(t, "poisson:500", 1).Duration(); d < 59*time.Second || d > time.Minute {
		t.Errorf("by default a trace lasts %v", d)
	}
}

// rate returns the arrivals a second between two times.
func rate(trace *workload.Trace, from, to time.Duration) float64 {
	i, _ := slices.BinarySearch(trace.Arrivals, from)
	j, _ := slices.BinarySearch(trace.Arrivals, to)
	return float64(j-i) / (to - from).Seconds()
}

func TestSeed(t *testing.T) {
	for _, spec := range []string{
		"poisson:100,for=1s", "bursty:base=30,var=70,cv2=4,for=1s", "ramp:from=30,to=90,accel=50,cv2=8,for=1s",
		"maf:mean=100,for=1s", "testdata/rates.txt", "file:testdata/azure2019.csv,for=1s", "file:testdata/azurellm.csv,rate=1",
	} {
		a, b, c := parse(t, spec, 1), parse(t, spec, 1), parse(t, spec, 2)
		if !slices.Equal(a.Arrivals, b.Arrivals) {
			t.Errorf("%s: the same seed gives another trace", spec)
		}
		if slices.Equal(a.Arrivals, c.Arrivals) {
			t.Errorf("%s: another seed gives the same trace", spec)
		}
	}
}

func TestSpecErrors(t *testing.T) {
	for spec, want := range map[string]string{
		"poisson:":                              `"": give a number`,
		"poisson:fast":                          `"fast": give a number`,
		"poisson:-1":                            "give a number",
		"poisson:NaN":                           "give a number",
		"poisson:0":                             "nothing arrives",
		"poisson:5,cv2=4":                       "use bursty",
		"poisson:5,for=soon":                    "for=soon: give a duration",
		"poisson:1e9,for=1h":                    "lower the rate",
		"bursty:base=3":                         `"var": give a number`,
		"bursty:base=3,base=4":                  "given twice",
		"bursty:base=3,var=4,cv=4":              "unknown parameter cv=4",
		"bursty:base=0,var=0":                   "nothing arrives",
		"bursty:base=0,var=5,cv2=1e9":           "give 0 to 100",
		"ramp:from=0,to=9,accel=1":              "above 0",
		"no-such-file.csv":                      "no-such-file.csv",
		"nonsense:base=3":                       "nonsense:base=3",
		"ramp:from=1,to=9,accel=1,for=0s":       "for=0s",
		"ramp:from=1,to=9,accel=1,after=x":      "after=x: give a duration",
		"maf:peak=5":                            `"mean": give a number`,
		"maf:mean=5,peak=4":                     "peak=4 is below mean=5",
		"file:nowhere.csv,rate=5":               "there is no file nowhere.csv",
		"file:testdata/rates.txt,rat=5":         "the parameters are format, from",
		"file:testdata/rates.txt,rate=-5":       "rate=-5",
		"file:testdata/rates.txt,from=1h":       "behind the end of the trace, which has 20s",
		"file:testdata/rates.txt,rate=1e9":      "lower rate=",
		"file:testdata/rates.txt,format=x":      "choose one of arrivals, rates",
		"file:testdata/azure2021.csv,rate=1000": "squeeze it with for=",
		"file:testdata/azure2021.csv,from=1h":   "nothing arrives",
	} {
		if _, err := workload.Parse(spec, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %q", spec, err, want)
		}
	}
}

func TestRead(t *testing.T) {
	ms := func(ds ...int) []time.Duration {
		out := []time.Duration{}
		for _, d := range ds {
			out = append(out, time.Duration(d)*time.Millisecond)
		}
		return out
	}
	for _, c := range []struct {
		text string
		want []time.Duration
		err  string
	}{
		{"0\n0.5\n1.25\n", ms(0, 500, 1250), ""},
		{"# seconds\n1e-1\r\n\n0.05", ms(50, 100), ""},
		{"arrival,client\n0.5,a\n1,b\n", ms(500, 1000), ""},
		{"\ufeff0.5\n1\n", ms(500, 1000), ""},
		{"", nil, "no arrivals"},
		{"arrival\n", nil, "no arrivals"},
		{"0\nsoon\n", nil, `line 2: "soon"`},
		{"-1\n", nil, `line 1: "-1"`},
		{"NaN\n", nil, `line 1: "NaN"`},
		{"1e300\n", nil, `line 1: "1e300"`},
	} {
		got, err := workload.Read(strings.NewReader(c.text), workload.Options{})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: %v, want an error about %s", c.text, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%q: %v", c.text, err)
		}
		if diff := cmp.Diff(c.want, got.Arrivals); diff != "" {
			t.Errorf("%q: %s", c.text, diff)
		}
	}
	path := filepath.Join(t.TempDir(), "trace.csv")
	if err := os.WriteFile(path, []byte("1\n2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if trace := parse(t, path, 1); trace.Spec != path || len(trace.Arrivals) != 2 {
		t.Errorf("read %+v", trace)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("poisson:500,for=60s")
	f.Add("bursty:base=300,var=700,cv2=4,for=1s")
	f.Add("ramp:from=300,to=900,accel=50,cv2=8,after=200ms,for=1s")
	f.Add("maf:mean=300,peak=500,for=2s")
	f.Add("file:testdata/rates.txt,from=1s,take=5s,for=1s,rate=50,cv2=2")
	f.Fuzz(func(t *testing.T, spec string) {
		if len(spec) > 60 {
			return
		}
		trace, err := workload.Parse(spec, 1)
		if err == nil && (len(trace.Arrivals) == 0 || !slices.IsSorted(trace.Arrivals)) {
			t.Errorf("%q gives a trace of %d arrivals", spec, len(trace.Arrivals))
		}
	})
}
