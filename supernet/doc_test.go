package supernet

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the tables in docs/spaces.md")

const (
	docFile  = "../docs/spaces.md"
	docBegin = "<!-- tables: go test ./supernet -run TestSpacesDoc -update -->\n"
	docEnd   = "<!-- end of tables -->\n"
)

// reference lists each space with the data set that its figures are counted for and with a
// subnet of middle size.
var reference = []struct {
	name              string
	classes, channels int
	middle            string
}{
	{"resnet-28s", 10, 1, "d1_e50_w100"},
	{"resnet-28", 10, 1, "d1_e50_w100"},
	{"resnet-32s", 10, 3, "d1_e50_w100"},
	{"resnet-32", 10, 3, "d1_e50_w100"},
	{"resnet-32w", 10, 3, "d1_e50"},
	{"mbv3-28", 10, 1, "d2_e3"},
	{"mbv3-28-k35", 10, 1, "d2_e3_k5"},
	{"mbv3-32s", 10, 3, "d2_e3"},
	{"mbv3-32", 100, 3, "d3_e4"},
	{"ofa-mbv3", 1000, 3, "d3_e4"},
	{"ofa-mbv3-k357", 1000, 3, "d3_e4_k7"},
	{"ofa-resnet50d", 1000, 3, "d0-3-3-5-3_e25_w80"},
}

func TestSpacesDoc(t *testing.T) {
	if len(reference) != len(Names()) {
		t.Errorf("the document describes %d spaces of %d", len(reference), len(Names()))
	}
	data, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), docBegin)
	old, tail, ok2 := strings.Cut(rest, docEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines that enclose the tables", docFile)
	}
	tables := shapes(t) + "\n" + sizes(t)
	if *update {
		if err := os.WriteFile(docFile, []byte(head+docBegin+tables+docEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if old != tables {
		t.Errorf("%s does not say what the code does: go test ./supernet -run TestSpacesDoc -update", docFile)
	}
}

// shapes is the table of what the spaces are made of.
func shapes(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| space | family | input | stem / stages / head | strides | depths | expansions | kernels | widths |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range reference {
		s := find(t, r.name, r.classes, r.channels)
		stem, head := strconv.Itoa(s.Stem.Width), ""
		if s.Family == MBV3 {
			stem += "+" + strconv.Itoa(s.Stem.Block)
			head = fmt.Sprintf(" / %d+%d", s.Head.Width, s.Head.Mix)
		}
		var widths, strides, depths []string
		for _, st := range s.Stages {
			widths = append(widths, strconv.Itoa(st.Width))
			strides = append(strides, strconv.Itoa(st.Stride))
			depths = append(depths, list(integers(st.Depths)))
		}
		depths = once(depths)
		if s.Family == Bottleneck {
			depths = append([]string{list(integers(stemDepths))}, depths...)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %v | %s / %s%s | %d; %s | %s | %s | %s | %s |\n",
			s.Name, s.Family, s.Input, stem, strings.Join(widths, " "), head,
			s.Stem.Stride, strings.Join(strides, " "), strings.Join(depths, " "),
			numbers(s.Expansions), list(integers(s.Kernels)), numbers(s.Widths))
	}
	return b.String()
}

func list(v []string) string { return "{" + strings.Join(v, ", ") + "}" }

func numbers(v []float64) string {
	var t []string
	for _, x := range v {
		t = append(t, fmt.Sprint(x))
	}
	return list(t)
}

// sizes is the table of how many subnets there are and how large they are.
func sizes(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| space | classes | subnets | largest | middle | smallest | M MACs | parameters, k |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|\n")
	for _, r := range reference {
		s := find(t, r.name, r.classes, r.channels)
		names := []string{s.Format(s.Max()), r.middle, s.Format(s.Min())}
		var macs, params []string
		for _, name := range names {
			g := lower(t, s, name)
			macs = append(macs, millions(g.MACs(), 2))
			params = append(params, fmt.Sprintf("%.1f", float64(g.Params())/1e3))
		}
		count := s.Size().String()
		if f, _ := s.Size().Float64(); f > 1e6 {
			count = fmt.Sprintf("%.2g", f)
		}
		fmt.Fprintf(&b, "| `%s` | %d | %s | `%s` | %s | %s |\n", s.Name, r.classes, count,
			strings.Join(names, "` | `"), strings.Join(macs, " / "), strings.Join(params, " / "))
	}
	return b.String()
}

func millions(n, digits int) string { return fmt.Sprintf("%.*f", digits, float64(n)/1e6) }
