package bundle

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"weft/supernet"
)

// TestDocumentedReader runs the Python program of docs/formats/bundle.md, which knows no
// more than the page says, on bundles just written.
func TestDocumentedReader(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here")
	}
	page, err := os.ReadFile("../docs/formats/bundle.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(page)
	if program == nil {
		t.Fatal("the page has no program")
	}
	b := smallBundle()
	for half, dtype := range map[bool]string{false: "F32", true: "F16"} {
		path := filepath.Join(t.TempDir(), "net.weft")
		if err := b.Write(path, half); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(python, "-", path)
		cmd.Stdin = strings.NewReader(string(program[1]))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var name, tensor, kind string
		var sum, variances float64
		var layers int
		if _, err := fmt.Sscanf(string(out), "%s %s %s %g\n%d normalised layers, sum of variances %g\n", &name, &tensor, &kind, &sum, &layers, &variances); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		read, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		wantSum, wantLayers, wantVariances := ofLargest(t, read)
		if name != "tiny" || tensor != "weights.fc.weight" || kind != dtype || layers != wantLayers ||
			math.Abs(sum-wantSum) > 1e-9 || math.Abs(variances-wantVariances) > 1e-9*wantVariances {
			t.Errorf("the program prints\n%swant %s, sum %v; %d layers, sum %v", out, dtype, wantSum, wantLayers, wantVariances)
		}
	}
}

// ofLargest returns what the program prints: the sum of the classifier's weights, and how
// many normalised layers the largest subnet has, with the sum of their variances.
func ofLargest(t *testing.T, b *Bundle) (sum float64, layers int, variances float64) {
	t.Helper()
	for i := range b.Net.W.Params {
		if b.Net.W.Params[i].Name == "fc.weight" {
			for _, v := range b.Net.W.Canonical(b.Net.W.Data, i) {
				sum += float64(v)
			}
		}
	}
	g, err := b.Net.Space.Lower(b.Net.Space.Max())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range g.NormKeys() {
		if k == 0 {
			continue
		}
		layers++
		for _, v := range b.Norms[k].Var {
			variances += float64(v)
		}
	}
	return sum, layers, variances
}

// TestDocumentedFields: the pages name every field that is written.
func TestDocumentedFields(t *testing.T) {
	for path, types := range map[string][]reflect.Type{
		"../docs/formats/bundle.md": {
			reflect.TypeFor[Info](), reflect.TypeFor[Subnet](), reflect.TypeFor[Provenance](),
			reflect.TypeFor[supernet.Space](), reflect.TypeFor[supernet.Stem](), reflect.TypeFor[supernet.Stage](), reflect.TypeFor[supernet.Head](),
		},
		"../docs/formats/profile.md": {reflect.TypeFor[sidecar](), reflect.TypeFor[Profile](), reflect.TypeFor[Machine](), reflect.TypeFor[SubnetTiming]()},
	} {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, typ := range types {
			for f := range typ.Fields() {
				field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if field != "" && !regexp.MustCompile("[`\".]"+field+"[`\"]").Match(page) {
					t.Errorf("%s does not name %s of %v", path, field, typ)
				}
			}
		}
	}
}
