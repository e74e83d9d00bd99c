package report

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func render(t *testing.T, d Data) string {
	t.Helper()
	html, err := Render(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(html)
}

// payload returns the charts that a page carries.
func payload(t *testing.T, html string) []chart {
	t.Helper()
	_, rest, _ := strings.Cut(html, `<script type="application/json" id="charts">`)
	text, _, ok := strings.Cut(rest, "</script>")
	if !ok {
		t.Fatal("the page carries no charts")
	}
	var charts []chart
	if err := json.Unmarshal([]byte(text), &charts); err != nil {
		t.Fatal(err)
	}
	return charts
}

func TestPageHasEverySection(t *testing.T) {
	html := render(t, sample())
	charts := payload(t, html)
	var ids []string
	for _, c := range charts {
		ids = append(ids, c.ID)
		if !strings.Contains(html, `<figure id="`+c.ID+`">`) {
			t.Errorf("no place for chart %s", c.ID)
		}
		for _, s := range c.Series {
			if len(s.YS) != len(c.XS) {
				t.Errorf("chart %s: %d values of %s for %d places", c.ID, len(s.YS), s.Name, len(c.XS))
			}
		}
	}
	want := []string{"arrivals", "chosen", "attainment", "queue", "batch", "latency", "macs", "loss", "accuracy"}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{
		"<h2>Results</h2>", "<h2>Do it again</h2>", "The 13 subnets as a table", "Example CPU 9000",
		`<td class="n">396</td><td class="n">–</td><td class="n">123</td>`,
	} {
		if !strings.Contains(html, s) {
			t.Errorf("page lacks %q", s)
		}
	}
	if n := strings.Count(html, "<tr><th scope="); n != 6+13 {
		t.Errorf("%d table rows, want 19", n)
	}
}

func TestEmptySectionsAreLeftOut(t *testing.T) {
	html := render(t, Data{Title: "nothing yet"})
	if c := payload(t, html); len(c) != 0 {
		t.Errorf("%d charts of no data", len(c))
	}
	if strings.Contains(html, "<section") || strings.Contains(html, "<table") {
		t.Error("a page of no data has sections")
	}
}

// Names come from users and files; none of them may become markup or script.
func TestNamesAreNotMarkup(t *testing.T) {
	const evil = `</script><script>alert(1)</script><img src=x onerror="alert(2)">'--><!--`
	d := sample()
	clean := strings.Count(render(t, d), "<script")
	d.Title, d.Summary, d.Machine, d.Commands = evil, evil, evil, []string{evil}
	d.Results[0].Policy, d.Timelines[0].Policy = evil, evil
	d.Subnets[0].Name, d.Subnets[0].Group = evil, evil
	d.Curves[0].Name, d.Curves[0].Marks[0].Label = evil, evil
	html := render(t, d)
	if n := strings.Count(html, "<script"); n != clean {
		t.Errorf("%d script elements, want %d", n, clean)
	}
	if strings.Contains(html, "<img") || strings.Contains(html, "alert(1)</script>") {
		t.Error("a name became markup")
	}
	if got := payload(t, html)[1].Series[0].Name; got != evil {
		t.Errorf("the charts carry the name as %q", got)
	}
}

var inline = regexp.MustCompile(`(?s)<(script|style)>(.*?)</(?:script|style)>`)

// The policy names the digests of exactly the scripts and styles in the page, so a browser runs those and loads nothing.
func TestPageLoadsNothing(t *testing.T) {
	html := render(t, sample())
	head, _, _ := strings.Cut(html, "<title>")
	head = strings.ReplaceAll(strings.ReplaceAll(head, "&#43;", "+"), "&#39;", "'")
	found := inline.FindAllStringSubmatch(html, -1)
	if len(found) != 3 {
		t.Fatalf("%d inline scripts and styles, want 3", len(found))
	}
	for _, m := range found {
		if !strings.Contains(head, "'"+digest(m[2])+"'") {
			t.Errorf("the policy does not allow the page's own %s of %d bytes", m[1], len(m[2]))
		}
	}
	if !strings.Contains(head, "default-src 'none'") {
		t.Errorf("policy lets the page load something: %s", head)
	}
	for _, load := range []string{`\ssrc=`, `\shref=`, `@import`, `url\(`, `\sstyle=`, `\son[a-z]+=`} {
		if m := regexp.MustCompile(load).FindString(html); m != "" {
			t.Errorf("page contains %q", m)
		}
	}
	if !strings.Contains(html, "Permission is hereby granted") {
		t.Error("uPlot's licence is not in the page")
	}
}

func TestChartsShareTheirPlaces(t *testing.T) {
	d := Data{Timelines: []Timeline{
		{"a", time.Second, []Bin{{Arrivals: 10, Accuracy: math.NaN()}, {Arrivals: 20, Accuracy: .9}}},
		{"b", 2 * time.Second, []Bin{{Arrivals: 15, Accuracy: .8}}},
	}}
	charts := payload(t, render(t, d))
	i := slices.IndexFunc(charts, func(c chart) bool { return c.ID == "arrivals" })
	if diff := cmp.Diff([]number{0, 1, 2}, charts[i].XS); diff != "" {
		t.Error(diff)
	}
	raw, err := json.Marshal(sections(d)[0].Charts[0].Series)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"name":"a","colour":0,"joined":true,"ys":[10,20,20],"labels":null},` +
		`{"name":"b","colour":1,"joined":true,"ys":[15,null,15],"labels":null}]`
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Error(diff)
	}
}

func TestEqualPlacesHideNoPoint(t *testing.T) {
	c := chart{}.fill([]line{{name: "a", points: []point{{2, 80, "x"}, {2, 81, "y"}, {1, 70, "z"}}}})
	if len(c.XS) != 3 {
		t.Fatalf("%d places for three points", len(c.XS))
	}
	if diff := cmp.Diff([]string{"z", "x", "y"}, c.Series[0].Labels); diff != "" {
		t.Error(diff)
	}
	raw, err := json.Marshal(c.XS)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(raw), "[1,2,2.0000002]"; got != want {
		t.Errorf("places %s, want %s", got, want)
	}
}

func TestWriteIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.html")
	if err := Write(path, sample()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := sample()
	bad.Subnets[2].Latency = nil
	if err := Write(path, bad); err == nil || !strings.Contains(err.Error(), "d1_e4") {
		t.Errorf("error %v does not name the subnet", err)
	}
	if err := Write(filepath.Join(dir, "missing", "report.html"), sample()); err == nil {
		t.Error("wrote into a folder that does not exist")
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) {
		t.Errorf("the old report changed (%v)", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files left behind", len(files)-1)
	}
}
