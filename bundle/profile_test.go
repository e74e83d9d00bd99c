package bundle

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testProfile(digest, cpu string, us ...float64) *Profile {
	return &Profile{
		Digest: digest, Machine: Machine{CPU: cpu, Kernel: "avx2", Threads: 1},
		Subnets: []SubnetTiming{{Arch: "d1", LatencyUS: us}},
	}
}

func TestProfileRoundTrip(t *testing.T) {
	path := SidecarPath(filepath.Join(t.TempDir(), "net.weft"))
	a, b := testProfile("one", "A", 10.25, 20), testProfile("one", "B", 5, 1e-3)
	if p, err := ReadProfile(path, "one", a.Machine); p != nil || err != nil {
		t.Errorf("without a sidecar: %v, %v", p, err)
	}
	check := func(p *Profile, want *Profile) {
		t.Helper()
		got, err := ReadProfile(path, p.Digest, p.Machine)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
	for _, p := range []*Profile{a, b} {
		if err := WriteProfile(path, p); err != nil {
			t.Fatal(err)
		}
	}
	check(a, a) // another machine's profile stays
	check(b, b)
	again := testProfile("one", "A", 11)
	if err := WriteProfile(path, again); err != nil {
		t.Fatal(err)
	}
	check(a, again) // the same machine's is replaced
	threads := *a
	threads.Machine.Threads = 2
	check(&threads, nil)
	other := testProfile("two", "A", 7)
	check(other, nil)
	if err := WriteProfile(path, other); err != nil {
		t.Fatal(err)
	}
	check(other, other)
	check(a, nil) // another bundle's are dropped
	check(b, nil)
}

const goodSidecar = `{"format":1,"profiles":[{"digest":"d","machine":{"cpu":"A","kernel":"avx2","threads":1},"tuning":{"bytes":1000,"layers":[{"layer":"conv","m":4,"images":1}]},"subnets":[{"arch":"d1","latency_us":[10,20]}]}]}`

func TestDamagedSidecar(t *testing.T) {
	path := filepath.Join(t.TempDir(), "net.weft.profile.json")
	m := Machine{CPU: "A", Kernel: "avx2", Threads: 1}
	for _, c := range []struct{ old, new, want string }{
		{goodSidecar, "", "is damaged (unexpected end of JSON input)"},
		{goodSidecar, "null", "has format 0 and this weft reads 1"},
		{`"format":1`, `"format":2`, "has format 2 and this weft reads 1"},
		{`]}]}`, ``, "is damaged (unexpected end"},
		{`10,20`, `NaN`, "is damaged (invalid character"},
		{`10,20`, `10,-20`, "is damaged (subnet d1 takes -20 µs for a batch of 2)"},
		{`10,20`, `0`, "takes 0 µs for a batch of 1"},
		{`10,20`, `1e300`, "takes 1e+300 µs"},
		{`10,20`, `1e999`, "is damaged (json: cannot unmarshal number 1e999"},
		{`10,20`, ``, "no latencies for subnet d1"},
		{`[10,20]`, `null`, "no latencies for subnet d1"},
		{`[10,20]`, `"fast"`, "is damaged (json: cannot unmarshal string"},
		{`[{"arch":"d1","latency_us":[10,20]}]`, `[]`, "a profile without subnets"},
		{`"m":4`, `"m":3`, "is damaged (layer conv has tiles of 3 from 1 images on: must be 2 or 4, and 1 or more"},
		{`"images":1`, `"images":0`, "layer conv has tiles of 4 from 0 images on"},
		{`"bytes":1000`, `"bytes":-1`, "transformed weights may take -1 bytes: must be 0 or more"},
		{`"bytes":1000`, `"bytes":"all"`, "is damaged (json: cannot unmarshal string"},
	} {
		if err := os.WriteFile(path, []byte(strings.Replace(goodSidecar, c.old, c.new, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := ReadProfile(path, "d", m)
		checkSentence(t, err, c.want)
		if p != nil || err != nil && (!strings.HasPrefix(err.Error(), path) || !strings.HasSuffix(err.Error(), "; remove it, it will be measured again")) {
			t.Errorf("%v, %v", p, err)
		}
		if err := WriteProfile(path, testProfile("d", "A", 3)); err != nil {
			t.Error(err)
		}
		if p, err := ReadProfile(path, "d", m); p == nil || err != nil {
			t.Errorf("measured again: %v, %v", p, err)
		}
	}
}

// TestProfileIsWrittenWhole: a profile that cannot be written leaves the older one.
func TestProfileIsWrittenWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "net.weft.profile.json")
	if err := os.WriteFile(path, []byte(goodSidecar), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Profile{
		testProfile("d", "A", math.NaN()), testProfile("d", "A", -1), testProfile("d", "A", math.Inf(1)),
		testProfile("d", "A"),
		{Digest: "d"},
	} {
		checkSentence(t, WriteProfile(path, p), "write "+path+": ")
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != goodSidecar {
		t.Errorf("%s, %v", got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v (%v)", left, err)
	}
	checkSentence(t, WriteProfile(filepath.Join(dir, "no", "x"), testProfile("d", "A", 1)), "no such file or directory")
}

// FuzzSidecar: any text gives latencies that can be served, or an error.
func FuzzSidecar(f *testing.F) {
	f.Add([]byte(goodSidecar))
	f.Add([]byte(`{"format":1,"profiles":[null]}`))
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSidecar(text)
		if err != nil {
			return
		}
		for _, p := range s.Profiles {
			for _, sub := range p.Subnets {
				for _, us := range sub.LatencyUS {
					if time.Duration(us*float64(time.Microsecond)) < 0 {
						t.Errorf("%v µs", us)
					}
				}
			}
		}
	})
}
