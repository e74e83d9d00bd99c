package main

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"weft/dash"
)

// topEvents are those of a server with two models: a minute at rest, then ten seconds at 100 requests a second to the
// second one, of which 90 are met, by the large subnet two times in three, 4 late and 6 refused.
func topEvents() []dash.Event {
	subnets := []dash.Subnet{
		{Name: "small", Accuracy: 0.8, LatencyMS: []float64{1, 2}}, {Name: "large", Accuracy: 0.9, LatencyMS: []float64{10, 20}},
	}
	events := []dash.Event{
		{Hello: &dash.Hello{Version: "v9", TickMS: 250, Window: 240, Missed: 281}},
		{Models: []dash.Model{
			{Name: "alpha", Version: "1", Policy: "weft", MaxBatch: 2, Subnets: subnets[:1]},
			{Name: "beta", Version: "3", Policy: "weft", MaxBatch: 2, Subnets: subnets},
		}},
	}
	for i := range 280 {
		t := &dash.Tick{
			AtMS: 250 * float64(i+1), DtMS: 250, Ready: true, Workers: []dash.Worker{{Name: "local 0", Up: true, Subnet: -1}, {Index: 1, Name: "far"}},
			Models: []dash.Load{{Name: "alpha", Subnets: []int{0}, Batches: []int{0, 0}}, {Name: "beta", Subnets: []int{0, 0}, Batches: []int{0, 0}}},
		}
		if i >= 240 {
			l := &t.Models[1]
			l.Arrived, l.Met, l.Late = 25, 22+i%2, 1
			l.Refused = 25 - l.Met - l.Late
			l.Accuracy, l.Subnets, l.Batches = 0.8667, []int{8, 16}, []int{4, 10}
			l.SlackMS, l.LatencyMS = dash.Quantiles{P1: 3, P50: 8, P99: 9}, dash.Quantiles{P1: 1, P50: 5, P99: 20 + float64(i%2)}
			l.Waiting, l.BacklogMS = 7, 12.5
			t.Workers[0] = dash.Worker{Name: "local 0", Up: true, Busy: 0.75, Batches: 14, Model: "beta", Subnet: 1}
		}
		events = append(events, dash.Event{Tick: t})
	}
	return events
}

// What top shows is what the ticks say.
func TestTopShowsTheTicks(t *testing.T) {
	v := topView{url: "http://x", model: "beta", plain: true}
	for i, e := range topEvents() {
		if drawn := v.apply(e); drawn != (i == 281) {
			t.Fatalf("event %d is drawn: %v", i, drawn)
		}
	}
	if len(v.ticks) != 240 {
		t.Errorf("%d ticks are kept", len(v.ticks))
	}
	text := strings.Join(v.lines(100, 60), "\n")
	for _, want := range []string{
		`http://x  live  up 1m10s`, `beta  version 3, policy weft, 2 subnets  model 2 of 2`,
		`deadlines met 90.00 %`, `accuracy 86.67 %`, `requests 100/s`, `missed 100 in 10 s`, `waiting 7, 12.5 ms`, `slowest 1 % 21.0 ms`,
		`(?m)^requests /s +▁{50}█{10} +100$`, `(?m)^missed /s +▁{50}█{10} +10.0$`, `(?m)^deadlines met +▇{10} +90.00 %$`,
		`(?m)^accuracy +▆{10} +86.67 %$`, `(?m)^images a batch +▇{10} +1.71$`, `(?m)^slack 1 %, ms +█{10} +3.00$`,
		`(?m)^large +90.00 % +10.0 ms +█+▋? +67 %\nsmall +80.00 % +1.00 ms +█+▍? +33 %$`,
		`(?m)^local 0 +█+▌? +75 % +beta large\nfar +0 % +down$`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	v.next()
	if text := strings.Join(v.lines(100, 60), "\n"); !strings.Contains(text, "alpha  version 1") || !strings.Contains(text, "deadlines met -") {
		t.Errorf("the next model:\n%s", text)
	}
	v.next()
	if v.model != "beta" {
		t.Errorf("after the last model comes %s", v.model)
	}
	v.gone = errors.New("it fell over")
	if text := v.lines(100, 60)[0]; !strings.Contains(text, "gone: it fell over") {
		t.Error(text)
	}
	v.apply(topEvents()[0])
	if v.gone != nil || len(v.ticks) != 0 {
		t.Error("a server that is back is still gone, or its past is left")
	}
}

// The picture keeps to its size, whatever that is and however little is known.
func TestTopFits(t *testing.T) {
	codes := regexp.MustCompile("\x1b\\[[0-9;]*m")
	events := topEvents()
	for _, n := range []int{0, 1, 2, 3, 5, len(events)} {
		v := topView{url: "http://some.long.name.example:8080"}
		for _, e := range events[:n] {
			v.apply(e)
		}
		for _, model := range []string{"", "beta"} {
			v.model = model
			for _, size := range [][2]int{{1, 1}, {2, 50}, {20, 5}, {40, 12}, {80, 24}, {300, 100}} {
				lines := v.lines(size[0], size[1])
				if len(lines) > size[1] {
					t.Errorf("%d lines on a screen of %v", len(lines), size)
				}
				for _, line := range lines {
					if text := codes.ReplaceAllString(line, ""); utf8.RuneCountInString(text) > size[0] || strings.ContainsAny(text, "\x1b\n\r") {
						t.Errorf("%q on a screen of %v", line, size)
					}
				}
			}
		}
	}
}

func TestTopFormats(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.05: "0.050", 7: "7.00", 1234: "1234", math.Inf(1): "-"} {
		if got := figure(x, ""); got != want {
			t.Errorf("figure(%v) = %s, want %s", x, got, want)
		}
	}
	for x, want := range map[float64]string{0.99999: "99.99 %", 1: "100.00 %", 0.5: "50.00 %"} {
		if got := percents(x); got != want {
			t.Errorf("percents(%v) = %s, want %s", x, got, want)
		}
	}
	if got := curve([]float64{0, 1, math.NaN(), 2}, 0, 0); got != "▁▅ █" {
		t.Errorf("curve: %q", got)
	}
	if got := trend([]float64{3, math.Inf(1), 1}); got != "▁ ▁" {
		t.Errorf("trend of what diverged: %q", got)
	}
	long := make([]float64, 480)
	for i := range long {
		long[i] = float64(i)
	}
	if got := []rune(trend(long)); len(got) != 48 || got[0] != '▁' || got[47] != '█' {
		t.Errorf("trend of many: %q", string(got))
	}
	if got := bar(0.5, 3); got != "█▌ " {
		t.Errorf("bar: %q", got)
	}
}
