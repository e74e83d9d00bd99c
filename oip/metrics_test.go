package oip_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"weft/oip"
	"weft/serve"
)

var update = flag.Bool("update", false, "rewrite the table of metrics in docs/observability.md")

const (
	metricsDoc = "../docs/observability.md"
	tableBegin = "<!-- table: go test ./oip -run TestMetricsDoc -update -->\n"
	tableEnd   = "<!-- end of the table -->\n"
)

// scrape parses what /metrics answers.
func scrape(t *testing.T, h *oip.Handler) map[string]*dto.MetricFamily {
	t.Helper()
	w := do(h, "GET", "/metrics", nil)
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatalf("/metrics can not be parsed: %v\n%s", err, w.Body)
	}
	return families
}

// used returns the metrics of a server that has done all that is counted.
func used(t *testing.T) map[string]*dto.MetricFamily {
	h, s := newHandler(t, serve.Options{Repository: toys{t}}, toy(t, linear{size: 4, classes: 3}))
	if err := s.Load(t.Context(), "toy"); err != nil {
		t.Fatal(err)
	}
	do(h, "POST", inferPath, []byte(`{"inputs":[`+imageJSON+`]}`))
	_, err := s.Router("toy").Infer(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4), Tenant: "a"})
	if err != nil {
		t.Fatal(err)
	}
	return scrape(t, h)
}

// toys is a repository of one model.
type toys struct{ t *testing.T }

func (toys) Names() []string { return []string{"toy"} }

func (r toys) Open(context.Context, string) (serve.Model, error) {
	return toy(r.t, linear{size: 4, classes: 3}), nil
}

// A scrape under load can be parsed, and its counters never fall.
func TestScrapeUnderLoad(t *testing.T) {
	h, s := newHandler(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}), toyNamed(t, "other"))
	stop := time.Now().Add(300 * time.Millisecond)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			r := s.Router([]string{"toy", "other"}[i%2])
			for time.Now().Before(stop) {
				_, _ = r.Infer(t.Context(), &serve.Request{N: 1 + i%2, Pixels: make([]byte, 4*(1+i%2)), Tenant: strconv.Itoa(i)})
			}
		})
	}
	last := map[string]float64{}
	for n := 0; n < 3 || time.Now().Before(stop); n++ {
		for name, f := range scrape(t, h) {
			for _, m := range f.Metric {
				v := m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
				key := name + fmt.Sprint(m.Label)
				if f.GetType() != dto.MetricType_GAUGE && f.GetType() != dto.MetricType_SUMMARY && v < last[key] {
					t.Errorf("%s fell from %v to %v", key, last[key], v)
				}
				last[key] = v
			}
		}
	}
	wg.Wait()
}

func toyNamed(t *testing.T, name string) serve.Model {
	m := toy(t, linear{size: 4, classes: 3})
	m.Name = name
	return m
}

// The document names each metric of weft's, with its labels, as it is.
func TestMetricsDoc(t *testing.T) {
	var table strings.Builder
	table.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	families := used(t)
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if !strings.HasPrefix(name, "weft_") {
			continue
		}
		f := families[name]
		labels := map[string]bool{}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels["`"+l.GetName()+"`"] = true
			}
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()),
			strings.Join(slices.Sorted(maps.Keys(labels)), ", "), f.GetHelp())
	}
	data, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), tableBegin)
	old, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines that enclose the table", metricsDoc)
	}
	if *update {
		if err := os.WriteFile(metricsDoc, []byte(head+tableBegin+table.String()+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if old != table.String() {
		t.Errorf("%s does not say what the server does: go test ./oip -run TestMetricsDoc -update", metricsDoc)
	}
}

// The dashboard asks for metrics and labels that there are, and shows each of weft's metrics.
func TestDashboard(t *testing.T) {
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name string }
		}
	}
	data, err := os.ReadFile("../deploy/grafana/weft.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	families := used(t)
	name := regexp.MustCompile(`\b(weft|go|process)_[a-z0-9_]+`)
	variable := regexp.MustCompile(`\$(\w+)`)
	known := map[string]bool{"__rate_interval": true}
	for _, v := range board.Templating.List {
		known[v.Name] = true
	}
	shown, ids := map[string]bool{}, map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels are number %d", p.ID)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			for _, v := range variable.FindAllStringSubmatch(q.Expr, -1) {
				if !known[v[1]] {
					t.Errorf("%s: %s uses $%s, which is no variable", p.Title, q.Expr, v[1])
				}
			}
			for _, n := range name.FindAllString(q.Expr, -1) {
				f := cmp.Or(families[n], families[strings.TrimSuffix(n, "_bucket")], families[strings.TrimSuffix(n, "_sum")], families[strings.TrimSuffix(n, "_count")])
				if f == nil {
					t.Errorf("%s: there is no metric %s", p.Title, n)
					continue
				}
				shown[f.GetName()] = true
			}
		}
	}
	for n := range families {
		if strings.HasPrefix(n, "weft_") && !shown[n] && n != "weft_model_info" {
			t.Errorf("no panel shows %s", n)
		}
	}
}
