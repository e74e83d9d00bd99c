package compare

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// side is an engine whose runs take as long as told.
type side struct {
	name    string
	took    []time.Duration // of one run in each turn, the last again and again
	log     *[]string
	runs    []int
	warm    []bool
	settled int
	err     error
}

func (s *side) Run(runs int, warm bool) (time.Duration, error) {
	*s.log = append(*s.log, s.name)
	s.runs, s.warm = append(s.runs, runs), append(s.warm, warm)
	t := s.took[0]
	if len(s.took) > 1 {
		s.took = s.took[1:]
	}
	return t, s.err
}

func (s *side) Settle() error { s.settled++; return nil }

func TestDuel(t *testing.T) {
	var log []string
	ms := time.Millisecond
	peer := &side{name: "p", log: &log, took: []time.Duration{2 * ms, 2 * ms, 9 * ms, 2 * ms, 2 * ms}}
	weft := &side{name: "w", log: &log, took: []time.Duration{ms}}
	got, err := Duel(peer, weft, Effort{Slice: 10 * ms, Budget: 65 * ms, Min: 2, Max: 10})
	if err != nil {
		t.Fatal(err)
	}
	// A round is 5+1 runs of 2 ms and 10+1 of 1 ms: 23 ms, of which 65 ms hold two.
	if order := strings.Join(log, ""); order != "pw"+"pw"+"wp" {
		t.Errorf("turns %s", order)
	}
	if peer.runs[1] != 5 || weft.runs[1] != 10 || !peer.warm[1] {
		t.Errorf("runs a turn: %v and %v, warm %v", peer.runs, weft.runs, peer.warm)
	}
	if peer.settled != 3 || weft.settled != 3 {
		t.Errorf("settled %d and %d times in 3 turns", peer.settled, weft.settled)
	}
	want := Timing{Peer: 5500 * time.Microsecond, Weft: ms, Rounds: 2, Spread: 3.5 / 5.5}
	if got != want || got.Ratio() != 5.5 {
		t.Errorf("timing %+v, want %+v", got, want)
	}
}

func TestDuelOfLongRuns(t *testing.T) {
	var log []string
	peer := &side{log: &log, took: []time.Duration{time.Second}}
	weft := &side{log: &log, took: []time.Duration{time.Second}}
	got, err := Duel(peer, weft, Effort{Slice: time.Millisecond, Budget: time.Millisecond, Min: 3, Max: 10})
	if err != nil || got.Rounds != 3 || peer.runs[1] != 1 || peer.warm[1] {
		t.Errorf("%+v, %v, runs %v, warm %v", got, err, peer.runs, peer.warm)
	}
}

func TestDuelThatFails(t *testing.T) {
	var log []string
	broken := errors.New("broken")
	ok := &side{log: &log, took: []time.Duration{time.Second}}
	bad := &side{log: &log, took: []time.Duration{time.Second}, err: broken}
	if _, err := Duel(ok, bad, Effort{Min: 1, Max: 1}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestStatistics(t *testing.T) {
	for _, c := range []struct {
		v              []float64
		median, spread float64
	}{
		{[]float64{7}, 7, 0},
		{[]float64{3, 1}, 2, 0.5},
		{[]float64{5, 1, 3, 2, 4}, 3, 2. / 3},
		{[]float64{1, 1, 1, 100}, 1, 24.75},
	} {
		if m, s := Median(c.v), Spread(c.v); m != c.median || math.Abs(s-c.spread) > 1e-12 {
			t.Errorf("%v: median %v, spread %v, want %v and %v", c.v, m, s, c.median, c.spread)
		}
	}
	if g := GeoMean([]float64{1, 4, 2}); math.Abs(g-2) > 1e-12 {
		t.Errorf("geometric mean of 1, 4, 2 is %v", g)
	}
}

func TestAgree(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		peer, weft []float32
		ok         bool
	}{
		{[]float32{10, 0.1}, []float32{10.0009, 0.1}, true},
		{[]float32{10, 0.1}, []float32{10, 0.1011}, false},
		{[]float32{10, 0.1}, []float32{10.002, 0.1}, false},
		{[]float32{1, 2}, []float32{1}, false},
		{nil, nil, false},
		{[]float32{1, nan}, []float32{1, 2}, false},
		{[]float32{1, 2, 3}, []float32{nan, 2, 3}, false},
		{[]float32{0}, []float32{0}, true},
	} {
		if err := Agree(c.peer, c.weft, 1e-4); (err == nil) != c.ok {
			t.Errorf("%v and %v: %v", c.peer, c.weft, err)
		}
	}
}
