package optimum_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/atomicfile"
	"weft/optimum"
	"weft/sched"
)

var (
	update = flag.Bool("update", false, "make testdata/instances.json anew")
	judge  = flag.Bool("cbc", false, "have CBC solve every recorded instance, which takes minutes")
)

const recordedFile = "testdata/instances.json"

// recorded returns the instances of the file.
func recorded(t testing.TB) []optimum.Recorded {
	t.Helper()
	f, err := os.Open(recordedFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := optimum.ReadRecorded(f)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// family makes instances of 8 to 12 requests for 1 to 3 workers, 2 to 6 subnets
// and batches of up to 8, with times in whole milliseconds, which keeps WriteLP's programs small.
type family struct {
	name    string
	hurry   int // times the rate, and divides the time until deadlines
	request func(r *rand.Rand, p *sched.Profile, q *sched.Request)
}

var families = []family{
	// One objective for all, as in the paper.
	{"bursty", 1, func(*rand.Rand, *sched.Profile, *sched.Request) {}},
	{"tight", 2, func(*rand.Rand, *sched.Profile, *sched.Request) {}},
	{"mixed", 1, func(r *rand.Rand, _ *sched.Profile, q *sched.Request) {
		q.Deadline = q.Arrival + time.Duration(8+r.IntN(56))*ms
	}},
	{"demands", 1, func(r *rand.Rand, p *sched.Profile, q *sched.Request) {
		q.Size += r.IntN(3) * r.IntN(2)
		if i := r.IntN(len(p.Subnets)); r.IntN(4) == 0 {
			q.MinAccuracy = p.Subnets[i].Accuracy
		} else if r.IntN(8) == 0 {
			q.Subnet = i
		}
	}},
}

// load is what a family draws for an instance before its requests.
type load struct {
	profile    *sched.Profile
	workers, n int
	rate, cv2  float64 // of the bursty part
}

func (f *family) draw(t *testing.T, r *rand.Rand) load {
	l := load{profile: someOfSix(t, r), workers: 1 + r.IntN(3), n: 8 + r.IntN(5)}
	l.rate = float64(l.workers) * (150 + 600*r.Float64()) * float64(f.hurry)
	l.cv2 = []float64{1, 2, 4, 8}[r.IntN(4)]
	return l
}

func (f *family) make(t *testing.T, seed uint64) optimum.Recorded {
	r := rand.New(rand.NewPCG(seed, uint64(len(f.name))))
	l := f.draw(t, r)
	rec := optimum.Recorded{Instance: optimum.Instance{Profile: l.profile, Workers: l.workers}}
	arrivals := bursty(l.rate/4, l.rate, l.cv2, 4*l.n, seed)[:l.n]
	rec.Requests = sched.OpenLoop(arrivals, slo)
	for i := range rec.Requests {
		q := &rec.Requests[i]
		q.Arrival = (q.Arrival - arrivals[0]).Round(ms)
		q.Deadline = q.Arrival + slo/time.Duration(f.hurry)
		f.request(r, l.profile, q)
	}
	return rec
}

// someOfSix returns a profile of 2 to 6 of the six subnets.
func someOfSix(t *testing.T, r *rand.Rand) *sched.Profile {
	var list []sched.Subnet
	accuracies := []float64{0.7382, 0.7669, 0.7764, 0.7825, 0.7944, 0.8016}
	chosen := r.Perm(len(accuracies))[:2+r.IntN(5)]
	slices.Sort(chosen)
	for _, i := range chosen {
		s := sched.Subnet{Name: fmt.Sprint("s", i), Accuracy: accuracies[i]}
		for b := range 8 {
			s.Latency = append(s.Latency, (ms + time.Duration((b+1)*(4+3*i))*ms/4).Round(ms))
		}
		list = append(list, s)
	}
	p, err := sched.NewProfile(list, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUpdateRecorded(t *testing.T) {
	if !*update {
		t.Skip("run with -update")
	}
	var list []optimum.Recorded
	for _, f := range families {
		for seed := range 40 {
			rec := f.make(t, uint64(seed))
			s, err := optimum.Exact(rec.Instance, 0)
			if err != nil {
				t.Fatal(err)
			}
			rec.Name, rec.Optimum = fmt.Sprintf("%s/%d", f.name, seed), math.Round(s.Value*1e9)/1e9
			list = append(list, rec)
		}
	}
	err := atomicfile.Write(recordedFile, func(w io.Writer) error { return optimum.WriteRecorded(w, list) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecorded(t *testing.T) {
	list := recorded(t)
	if len(list) < 100 {
		t.Errorf("%d instances", len(list))
	}
	for _, rec := range list {
		s, err := optimum.Exact(rec.Instance, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(rec.Instance, s); err != nil {
			t.Errorf("%s: %v", rec.Name, err)
		}
		if math.Abs(s.Value-rec.Optimum) > 1e-8 {
			t.Errorf("%s: %v, recorded is %v", rec.Name, s.Value, rec.Optimum)
		}
	}
}

// TestRecordedAgainstCBC has the solver confirm the recorded optima.
func TestRecordedAgainstCBC(t *testing.T) {
	if !*judge {
		t.Skip("run with -cbc")
	}
	cbc, err := exec.LookPath("cbc")
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recorded(t) {
		t.Run(rec.Name, func(t *testing.T) {
			if got := solve(t, cbc, rec.Instance); math.Abs(got-rec.Optimum) > 1e-6 {
				t.Errorf("cbc finds %v, recorded is %v", got, rec.Optimum)
			}
		})
	}
}

func TestRecordedRoundTrip(t *testing.T) {
	var out bytes.Buffer
	if err := optimum.WriteRecorded(&out, recorded(t)); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(recordedFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), file) {
		t.Error("what is read is not written the same")
	}
}

func TestReadRecordedErrors(t *testing.T) {
	for want, text := range map[string]string{
		"unexpected EOF": `[{"name": "x"`,
		"unknown field":  `[{"nme": "x"}]`,
		"no subnet":      `[{"name": "x"}]`,
		"pinned to b":    `[{"subnets": [{"name": "a", "latency": [1]}], "requests": [{"due": 1, "subnet": "b"}]}]`,
		"order":          `[{"subnets": [{"name": "a", "latency": [1]}], "requests": [{"at": 1}, {"at": 0}]}]`,
		"workers":        `[{"subnets": [{"name": "a", "latency": [1]}], "workers": -1}]`,
	} {
		if _, err := optimum.ReadRecorded(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
}
