package importtest

import (
	"slices"
	"strings"
	"testing"
)

// mayImport lists, for each top-level folder, the folders of ours just below it. A folder may import these, whatever
// these may import, and itself. Tests are free: they drive a package by whichever other they need.
var mayImport = map[string][]string{
	"tensor":      {},
	"atomicfile":  {},
	"guard":       {"atomicfile"},
	"safetensors": {"atomicfile"},
	"bus":         {},
	"workload":    {},
	"sched":       {},
	"optimum":     {"sched"},
	"internal":    {},
	"kernel":      {"tensor"},
	"data":        {"tensor"},
	"nn":          {"kernel"},
	"quant":       {"kernel"},
	"supernet":    {"nn", "quant"},
	"bundle":      {"supernet", "data", "safetensors"},
	"train":       {"supernet", "data", "safetensors"},
	"search":      {"supernet", "data", "bundle"},
	"fed":         {"supernet", "data"},
	"accel":       {"supernet", "data"},
	"cascade":     {"supernet", "data"},
	"onnx":        {"bundle"},
	"pytorch":     {"bundle"},
	"serve":       {"sched", "bundle", "bus"},
	"oip":         {"serve", "guard"},
	"remote":      {"serve", "bus"},
	"scale":       {"serve"},
	"dash":        {"serve", "workload", "guard"},
	"flight":      {"serve"},
	"telemetry":   {"oip"},
}

// anything names the folders that wire the rest together.
var anything = []string{"cmd", "experiments"}

func TestImportsPointOneWay(t *testing.T) {
	for _, f := range goFiles(t, false) {
		from := top(f.dir)
		if f.test || slices.Contains(anything, from) {
			continue
		}
		if _, ok := mayImport[from]; !ok {
			t.Errorf("%s: folder %q is not in the import table: say what it may import", f.path, from)
			continue
		}
		for _, imp := range f.imports {
			if to, ok := ours(imp); ok && to != from && !reaches(from, to) {
				t.Errorf("%s: %s imports %s, which is not below it", f.path, from, imp)
			}
		}
	}
}

func TestImportTableHasNoCycle(t *testing.T) {
	for from, below := range mayImport {
		for _, to := range below {
			if _, ok := mayImport[to]; !ok {
				t.Errorf("%s may import %s, which is not in the table", from, to)
			}
			if to == from || reaches(to, from) {
				t.Errorf("%s and %s may import each other", from, to)
			}
		}
	}
}

// Commands wire the rest together, so nothing may import them back.
func TestNothingImportsTheTop(t *testing.T) {
	for _, f := range goFiles(t, false) {
		for _, imp := range f.imports {
			if to, ok := ours(imp); ok && to == "cmd" && top(f.dir) != "cmd" {
				t.Errorf("%s imports %s: commands are imported by nobody", f.path, imp)
			}
		}
	}
}

// reaches says whether the table leads from one folder down to another.
func reaches(from, to string) bool {
	return reach(from, to, map[string]bool{})
}

func reach(from, to string, seen map[string]bool) bool {
	for _, d := range mayImport[from] {
		if d == to {
			return true
		}
		if !seen[d] {
			seen[d] = true
			if reach(d, to, seen) {
				return true
			}
		}
	}
	return false
}

// ours returns the top-level folder of an import path of this module.
func ours(imp string) (folder string, ok bool) {
	rest, ok := strings.CutPrefix(imp, module+"/")
	return top(rest), ok
}

// top returns the first element of a slash-separated path.
func top(p string) string {
	first, _, _ := strings.Cut(p, "/")
	return first
}

func TestReaches(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"serve", "tensor", true}, // by bundle, supernet, nn and kernel
		{"oip", "sched", true},
		{"nn", "kernel", true},
		{"kernel", "nn", false},
		{"sched", "tensor", false},
		{"train", "search", false},
	} {
		if got := reaches(c.from, c.to); got != c.want {
			t.Errorf("reaches(%s, %s) = %v, want %v", c.from, c.to, got, c.want)
		}
	}
}
