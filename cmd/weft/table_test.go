package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type served struct {
	Policy string  `json:"policy" col:"policy"`
	P99    float64 `json:"p99_ms" col:"p99 ms,%.1f"`
	Batch  int     `json:"batch" col:"batch"`
	Seed   uint64  `json:"seed"`
}

func TestPrintTable(t *testing.T) {
	rows := []served{{"slackfit", 49.25, 16, 7}, {"µ", 1234.5, 1, 7}}
	for _, c := range []struct {
		name   string
		asJSON bool
		rows   []served
		want   string
	}{
		{"text", false, rows, "" +
			"policy    p99 ms  batch\n" +
			"slackfit    49.2     16\n" +
			"µ         1234.5      1\n"},
		{"text without rows", false, nil, "policy  p99 ms  batch\n"},
		{"json", true, rows[:1], `[
  {
    "policy": "slackfit",
    "p99_ms": 49.25,
    "batch": 16,
    "seed": 7
  }
]
`},
		{"json without rows", true, nil, "[]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			if err := printTable(&b, c.asJSON, c.rows); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPrintRecord(t *testing.T) {
	var b strings.Builder
	if err := printRecord(&b, false, served{"slackfit", 3, 16, 7}); err != nil {
		t.Fatal(err)
	}
	want := "policy  slackfit\np99 ms  3.0\nbatch   16\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}
