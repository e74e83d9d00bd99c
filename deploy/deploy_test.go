package deploy

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// metric is a row of the table of metrics in docs/observability.md, which a test of
// weft compares with a server's.
type metric struct {
	kind   string
	labels []string
}

func metrics(t *testing.T) map[string]metric {
	t.Helper()
	doc, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]metric{}
	row := regexp.MustCompile("(?m)^\\| `(weft_\\w+)` \\| (\\w+) \\| ([^|]*) \\|")
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		all[m[1]] = metric{m[2], regexp.MustCompile(`\w+`).FindAllString(m[3], -1)}
	}
	if len(all) < 20 {
		t.Fatalf("the document has %d metrics", len(all))
	}
	return all
}

// selectors parses the expression and returns what it selects.
func selectors(t *testing.T, expr string) (all []*parser.VectorSelector) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", expr, err)
		return nil
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			all = append(all, v)
		}
		return nil
	})
	return all
}

// always are the labels that Prometheus itself adds, and that histograms have.
var always = []string{labels.MetricName, "instance", "job", "le"}

// check reports selectors of metrics or labels that no server has.
func check(t *testing.T, where, expr string, known map[string]metric) {
	t.Helper()
	for _, s := range selectors(t, expr) {
		if !strings.HasPrefix(s.Name, "weft_") {
			continue
		}
		m, ok := known[s.Name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(s.Name, suffix); !ok && cut && known[base].kind == "histogram" {
				m, ok = known[base], true
			}
		}
		if !ok {
			t.Errorf("%s: there is no metric %s", where, s.Name)
			continue
		}
		for _, l := range s.LabelMatchers {
			if !slices.Contains(always, l.Name) && !slices.Contains(m.labels, l.Name) {
				t.Errorf("%s: %s has no label %s", where, s.Name, l.Name)
			}
		}
	}
}

func TestAlerts(t *testing.T) {
	known := metrics(t)
	rules, errs := rulefmt.ParseFile("prometheus/alerts.yml", false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if rules == nil {
		return
	}
	recorded := map[string]bool{}
	alerts := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			check(t, r.Record+r.Alert, r.Expr, known)
			for _, s := range selectors(t, r.Expr) {
				if strings.Contains(s.Name, ":") && !recorded[s.Name] {
					t.Errorf("%s uses %s, which no rule before it records", r.Alert, s.Name)
				}
			}
			if r.Record != "" {
				recorded[r.Record] = true
				continue
			}
			alerts++
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("%s has no severity or no summary", r.Alert)
			}
		}
	}
	if alerts == 0 {
		t.Error("there are no alerts")
	}
}

// A service may write to the folder that weft keeps things in, and is not killed while it stops in time.
func TestServices(t *testing.T) {
	for name, stops := range map[string]time.Duration{"weft": 10 * time.Second, "weft-worker": 30 * time.Second} {
		raw, err := os.ReadFile("systemd/" + name + ".service")
		if err != nil {
			t.Fatal(err)
		}
		find := func(pattern string) string {
			m := regexp.MustCompile("(?m)" + pattern).FindSubmatch(raw)
			if m == nil {
				t.Fatalf("%s has no %s", name, pattern)
			}
			return string(m[1])
		}
		keeps, may := find(`XDG_CACHE_HOME=(\S+)`)+"/weft/", "/var/cache/"+find(`^CacheDirectory=(\S+)`)+"/"
		if !strings.HasPrefix(keeps, may) {
			t.Errorf("%s keeps things in %s and may write to %s", name, keeps, may)
		}
		if d, err := time.ParseDuration(find(`^TimeoutStopSec=(\S+)`)); err != nil || d < stops+5*time.Second {
			t.Errorf("%s is killed after %v and may take %v to stop (%v)", name, d, stops, err)
		}
	}
}

func TestDashboard(t *testing.T) {
	known := metrics(t)
	data, err := os.ReadFile("grafana/weft.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	// Grafana puts values in before Prometheus sees the expression.
	values := strings.NewReplacer("$__rate_interval", "1m", "$model", ".*", "$instance", ".*")
	n := 0
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			check(t, p.Title, values.Replace(q.Expr), known)
			n++
		}
	}
	if n < 30 {
		t.Errorf("only %d expressions", n)
	}
}
