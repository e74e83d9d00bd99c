package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestSplitsJudge: the accuracy by which weft search chooses is what weft eval counts on the validation images, the one
// that it measures at the end is what that counts on the test images, and without being told to weft eval takes the latter.
func TestSplitsJudge(t *testing.T) {
	set, dir := squaresSet(t), t.TempDir()
	trained, bundle := filepath.Join(dir, "run"), filepath.Join(dir, "m.weft")
	table := func(args ...string) []subnetRow {
		t.Helper()
		var rows []subnetRow
		var out, errs strings.Builder
		if status := run(t.Context(), append(args, "--threads", "1", "--quiet"), strings.NewReader(""), &out, &errs); status != exitOK {
			t.Fatal(errs.String())
		}
		if out.Len() > 0 && args[0] != "train" {
			if err := json.Unmarshal([]byte(out.String()), &rows); err != nil {
				t.Fatal(err)
			}
		}
		return rows
	}
	table("train", "--out", trained, "--space", "resnet-28s", "--data", set, "--epochs", "1", "--batch", "16", "--lr", "0.1", "--flip=false")
	found := table("search", trained, "-o", bundle, "--samples", "8", "--calibration", "40", "--json")
	val, test := table("eval", bundle, "--split", "val", "--json"), table("eval", bundle, "--split", "test", "--json")
	byDefault := table("eval", bundle, "--json")
	differ := false
	for i, r := range found {
		if r.Arch != val[i].Arch || r.Arch != test[i].Arch || r.Accuracy != val[i].Accuracy || r.Test != test[i].Accuracy || byDefault[i] != test[i] {
			t.Errorf("search found %+v; of the validation images %+v, of the test images %+v, by default %+v", r, val[i], test[i], byDefault[i])
		}
		differ = differ || r.Accuracy != r.Test
	}
	if !differ {
		t.Errorf("both splits give the same accuracies: %+v", found)
	}
}
