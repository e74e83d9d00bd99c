package workload_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/workload"
)

func millis(ds ...int) []time.Duration {
	out := []time.Duration{}
	for _, d := range ds {
		out = append(out, time.Duration(d)*time.Millisecond)
	}
	return out
}

// TestFiles: what arrives is told by the content, plain or packed.
func TestFiles(t *testing.T) {
	for spec, want := range map[string][]time.Duration{
		"testdata/azure2021.csv":                          millis(250, 250, 10000, 20000),
		"testdata/azure2021.csv.gz":                       millis(250, 250, 10000, 20000),
		"testdata/azurellm.csv":                           millis(0, 250, 500, 2000),
		"testdata/azurellm2024.csv":                       millis(0, 250),
		"file:testdata/azurellm.csv,from=100ms,take=1s":   millis(150, 400),
		"file:testdata/azurellm.csv,for=1s":               millis(0, 125, 250, 1000),
		"file:testdata/azure2021.csv,take=20s,for=2s":     millis(25, 25, 1000),
		"file:testdata/rates.txt,take=2s,cv2=0":           millis(200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800),
		"file:testdata/rates.txt,from=12s,take=3s,cv2=0":  millis(2143, 2286, 2429, 2571, 2714, 2857),
		"file:testdata/rates.txt,take=1s,for=500ms,cv2=0": millis(100, 200, 300, 400),
		"file:testdata/rates.txt,take=1s,rate=2,cv2=0":    millis(500),
		"file:testdata/azurellm.csv,format=azurellm":      millis(0, 250, 500, 2000),
	} {
		got := parse(t, spec, 1).Arrivals
		for i := range got {
			got[i] = got[i].Round(time.Millisecond)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", spec, diff)
		}
	}
}

func TestPacked(t *testing.T) {
	if diff := cmp.Diff(parse(t, "testdata/rates.txt", 3).Arrivals, parse(t, "testdata/rates.tar.bz2", 3).Arrivals); diff != "" {
		t.Error(diff)
	}
}

// TestCounts: the counts of the file are the rates of the trace, minute by minute.
func TestCounts(t *testing.T) {
	day := parse(t, "testdata/azure2019.csv", 1)
	near(t, "arrivals of the day", float64(len(day.Arrivals)), 288+2160+12, 0.05)
	whole := parse(t, "file:testdata/azure2019.csv,for=120s,rate=1000,cv2=0", 1)
	near(t, "squeezed, length", whole.Duration().Seconds(), 120, 0.001)
	near(t, "squeezed, rate", whole.Rate(), 1000, 0.001)
	minute := 120 * time.Second / 1440
	near(t, "the busiest minute", rate(whole, 600*minute, 601*minute), 1000*1440*13./2460, 0.01)
}

func TestMAF(t *testing.T) {
	r := workload.MAF(6400, 8750, 120*time.Second, 1)
	near(t, "length", (r.Bin * time.Duration(len(r.PerSecond))).Seconds(), 120, 1e-6)
	near(t, "peak", slices.Max(r.PerSecond), 8750, 1e-9)
	if least := slices.Min(r.PerSecond); least < 3000 || least > 6000 {
		t.Errorf("least rate %v", least)
	}
	trace := parse(t, "maf:mean=6400,for=120s", 1)
	near(t, "mean rate", trace.Rate(), 6400, 0.003)
	hour := 120 * time.Second / 24
	if night, noon := rate(trace, 0, 3*hour), rate(trace, 11*hour, 14*hour); noon < 1.1*night {
		t.Errorf("%v/s at noon, %v/s at night", noon, night)
	}
}

func TestReadErrors(t *testing.T) {
	head2019 := "HashOwner,HashApp,HashFunction,Trigger,1,2\n"
	for text, want := range map[string]string{
		"HashOwner,HashApp\n":                                               "the first line is not HashOwner",
		head2019 + "o,a,f,t,1\n":                                            "line 2 has 5 columns, the first line has 6",
		head2019 + "o,a,f,t,1,2\no,a,f,t,1,-2\n":                            `line 3, minute 2: "-2" is no count`,
		head2019:                                                            "nothing arrives",
		head2019 + "o,a,f,t,0,0\n":                                          "nothing arrives",
		head2019 + "o,a,f,t,1000000000,0\n":                                 "take a part",
		"app,end_timestamp\n":                                               "does not name the columns end_timestamp and duration",
		"app,func,end_timestamp,duration\na,f,1\n":                          "line 2 has 3 columns",
		"app,func,end_timestamp,duration\na,f,1,x\n":                        `duration "x": give seconds`,
		"app,func,end_timestamp,duration\na,f,1,2\n":                        "no arrivals",
		"TIMESTAMP,A,B\nyesterday,1,2\n":                                    `line 2: "yesterday" is no time`,
		"TIMESTAMP,A,B\n2023-11-16 00:00:00,1,2\n0001-01-01 00:00:00,1,2\n": "years from the first",
		"TIMESTAMP,A,B\n":                                                   "no arrivals",
		"1 2 3 x":                                                           `value 4: "x" is no rate`,
		"0 0 0":                                                             "nothing arrives",
		"\x1f\x8b not gzip":                                                 "gzip",
		"BZh not bzip2":                                                     "bzip2",
	} {
		_, err := workload.Read(strings.NewReader(text), workload.Options{CV2: 1})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error about %q", text, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("0\n0.5\n"), "")
	f.Add([]byte("arrival,client\n0.5,\"a\"\n"), "")
	samples, err := filepath.Glob("testdata/*")
	if err != nil || len(samples) < 5 {
		f.Fatal(samples, err)
	}
	for _, path := range samples {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw[:min(len(raw), 2000)], "")
	}
	f.Add([]byte("1 2 3\n"), workload.FormatRates)
	f.Fuzz(func(t *testing.T, raw []byte, format string) {
		o := workload.Options{Format: format, For: time.Second, CV2: 1}
		trace, err := workload.Read(bytes.NewReader(raw), o)
		if err != nil && err.Error() == "" {
			t.Error("an error without a word")
		}
		if err == nil && (len(trace.Arrivals) == 0 || trace.Arrivals[0] < 0 || !slices.IsSorted(trace.Arrivals)) {
			t.Errorf("%q gives %v", raw, trace.Arrivals)
		}
	})
}
