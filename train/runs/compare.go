package runs

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
)

// Difference is a setting in which runs differ: one value for each run, as JSON.
type Difference struct {
	Field  string   `json:"field"`
	Values []string `json:"values"`
}

// Differences returns the settings that are not the same in all runs, by name.
func Differences(all []*Run) ([]Difference, error) {
	settings := make([]map[string]json.RawMessage, len(all))
	fields := map[string]bool{}
	for i, r := range all {
		b, err := json.Marshal(r.Config)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &settings[i]); err != nil {
			return nil, err
		}
		for f := range settings[i] {
			fields[f] = true
		}
	}
	var diffs []Difference
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		d := Difference{Field: f}
		differ := false
		for i := range all {
			v := string(settings[i][f])
			d.Values = append(d.Values, v)
			differ = differ || v != d.Values[0]
		}
		if differ {
			diffs = append(diffs, d)
		}
	}
	return diffs, nil
}

// AtEqualCost returns the accuracy of the net in each run after as many flops as the cheapest of them spent in all, and
// that number.
func AtEqualCost(all []*Run, net string) (flops float64, accuracy []float64) {
	flops = math.Inf(1)
	for _, r := range all {
		if p := r.Accuracy(net); len(p) > 0 {
			flops = min(flops, p[len(p)-1].Flops)
		}
	}
	for _, r := range all {
		accuracy = append(accuracy, r.AtFlops(net, flops))
	}
	return flops, accuracy
}

// ToEqualAccuracy returns the flops that each run took until the net was as accurate as it ended up in the least accurate
// of them, and that accuracy.
func ToEqualAccuracy(all []*Run, net string) (accuracy float64, flops []float64) {
	accuracy = math.Inf(1)
	for _, r := range all {
		if last := r.Last(net); !math.IsNaN(last) {
			accuracy = min(accuracy, last)
		}
	}
	for _, r := range all {
		flops = append(flops, r.FlopsTo(net, accuracy))
	}
	return accuracy, flops
}
