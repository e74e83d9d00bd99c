package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"weft/atomicfile"
	"weft/bench/machine"
)

// Point is one comparison. Ratio is peer time over weft time: above 1 weft is faster.
type Point struct {
	Peer    string  `json:"peer"`
	Work    string  `json:"work"`
	Space   string  `json:"space"`
	Subnet  string  `json:"subnet"`
	Pixels  int     `json:"pixels"`
	Batch   int     `json:"batch"`
	Threads int     `json:"threads"`
	PeerUS  float64 `json:"peer_us"`
	WeftUS  float64 `json:"weft_us"`
	Ratio   float64 `json:"ratio"`
	Rounds  int     `json:"rounds"`
	Spread  float64 `json:"spread"`           // of the ratio over the rounds: interquartile range over median
	Others  float64 `json:"others,omitempty"` // cores that other processes used meanwhile, if more than Busy
	Variant string  `json:"variant,omitempty"`
}

// Busy is how many cores others may use before a point counts as disturbed.
const Busy = 0.05

// key is what makes two points the same measurement.
func (p *Point) key() string {
	return fmt.Sprint(p.Peer, "|", p.Work, "|", p.Space, "|", p.Subnet, "|", p.Pixels, "|", p.Batch, "|", p.Threads)
}

// Memory is what served networks hold: the growth of a fresh process from its start (for
// the peer, from when its library was loaded) to when each network has run once.
type Memory struct {
	Engine   string  `json:"engine"`
	Space    string  `json:"space"`
	Pixels   int     `json:"pixels"`
	Networks int     `json:"networks"`
	Bytes    int64   `json:"bytes"`
	Ratio    float64 `json:"ratio"` // bytes of the peer over these
}

// Meta says what the points were measured on.
type Meta struct {
	Machine  machine.Info      `json:"machine"`
	Date     string            `json:"date"` // RFC 3339
	Seconds  float64           `json:"seconds"`
	Load     [2]string         `json:"load"` // averages before and after
	Versions map[string]string `json:"versions"`
	Revision string            `json:"revision,omitempty"` // of weft
	Memory   []Memory          `json:"memory,omitempty"`
}

// Merge returns the old points with those measured again replaced and new ones added.
func Merge(old, measured []Point) []Point {
	at := map[string]int{}
	out := append([]Point(nil), old...)
	for i := range out {
		at[out[i].key()] = i
	}
	for _, p := range measured {
		if i, ok := at[p.key()]; ok {
			out[i] = p
			continue
		}
		at[p.key()] = len(out)
		out = append(out, p)
	}
	return out
}

// Write writes v as indented JSON.
func Write(path string, v any) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(v)
	})
}

// Read reads what Write wrote into v; a missing file leaves v as it is.
func Read(path string, v any) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// group is a block of the table: all subnets and settings of one space at one size.
type group struct {
	peer, work, space string
	pixels            int
}

// Table prints the points, a line a subnet and a pair of columns a (batch, threads)
// setting, and the geometric means of each block's ratios.
func Table(w io.Writer, points []Point) error {
	var order []group
	blocks := map[group][]Point{}
	for _, p := range points {
		g := group{p.Peer, p.Work, p.Space, p.Pixels}
		if blocks[g] == nil {
			order = append(order, g)
		}
		blocks[g] = append(blocks[g], p)
	}
	for _, g := range order {
		fmt.Fprintf(w, "\n%s against %s: %s, %d pixels; µs of the peer / µs of weft = ratio\n", g.work, g.peer, g.space, g.pixels)
		if err := block(w, blocks[g]); err != nil {
			return err
		}
	}
	return nil
}

func block(w io.Writer, points []Point) error {
	var settings, subnets []string
	cells := map[[2]string]*Point{}
	for i := range points {
		p := &points[i]
		s := fmt.Sprintf("b%d %dT", p.Batch, p.Threads)
		settings, subnets = addOnce(settings, s), addOnce(subnets, p.Subnet)
		cells[[2]string{p.Subnet, s}] = p
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "subnet\t"+strings.Join(settings, "\t"))
	for _, name := range subnets {
		line := name
		for _, s := range settings {
			line += "\t" + cell(cells[[2]string{name, s}])
		}
		fmt.Fprintln(t, line)
	}
	mean := "geometric mean"
	for _, s := range settings {
		var r []float64
		for _, name := range subnets {
			if p := cells[[2]string{name, s}]; p != nil {
				r = append(r, p.Ratio)
			}
		}
		mean += fmt.Sprintf("\t%.2f", GeoMean(r))
	}
	fmt.Fprintln(t, mean)
	return t.Flush()
}

func cell(p *Point) string {
	if p == nil {
		return "-"
	}
	s := fmt.Sprintf("%.0f / %.0f = %.2f", p.PeerUS, p.WeftUS, p.Ratio)
	if p.Others > Busy {
		s += " *"
	}
	return s
}

func addOnce(list []string, s string) []string {
	for _, v := range list {
		if v == s {
			return list
		}
	}
	return append(list, s)
}
