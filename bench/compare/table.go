package compare

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// group is a block of the table: all subnets and settings of one space at one size.
type group struct {
	peer, work, space string
	pixels            int
}

// Table prints the points, a line a subnet and a column a setting of batch size and
// threads.
func Table(w io.Writer, points []Point) error {
	order, blocks := grouped(points)
	for _, g := range order {
		fmt.Fprintf(w, "\n%s against %s: %s, %d pixels; µs of the peer / µs of weft = ratio\n", g.work, g.peer, g.space, g.pixels)
		if err := block(w, blocks[g]); err != nil {
			return err
		}
	}
	return nil
}

// grouped sorts points into blocks, in the order in which they appear.
func grouped(points []Point) ([]group, map[group][]Point) {
	var order []group
	blocks := map[group][]Point{}
	for _, p := range points {
		g := group{p.Peer, p.Work, p.Space, p.Pixels}
		if blocks[g] == nil {
			order = append(order, g)
		}
		blocks[g] = append(blocks[g], p)
	}
	return order, blocks
}

func block(w io.Writer, points []Point) error {
	var settings, subnets []string
	cells := map[[2]string]*Point{}
	for i := range points {
		p := &points[i]
		s := p.setting()
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
	return t.Flush()
}

// setting is the text for a point's batch size and threads.
func (p *Point) setting() string { return fmt.Sprintf("b%d %dT", p.Batch, p.Threads) }

// Summary prints a Markdown table of the ratios of each block: the geometric mean over the
// subnets, the lowest and the highest for each setting, and how many points are above 1.
func Summary(w io.Writer, points []Point) error {
	order, blocks := grouped(points)
	var settings []string
	for i := range points {
		settings = addOnce(settings, points[i].setting())
	}
	fmt.Fprintf(w, "| ratio: geometric mean (lowest–highest) | %s | weft ahead |\n", strings.Join(settings, " | "))
	fmt.Fprintf(w, "|---|%s---|\n", strings.Repeat("---|", len(settings)))
	for _, g := range order {
		ratios := map[string][]float64{}
		ahead := 0
		for _, p := range blocks[g] {
			ratios[p.setting()] = append(ratios[p.setting()], p.Ratio)
			if p.Ratio > 1 {
				ahead++
			}
		}
		line := fmt.Sprintf("| %s against %s, %s, %d px |", g.work, g.peer, g.space, g.pixels)
		for _, s := range settings {
			line += " " + span(ratios[s]) + " |"
		}
		if _, err := fmt.Fprintf(w, "%s %d of %d |\n", line, ahead, len(blocks[g])); err != nil {
			return err
		}
	}
	return nil
}

func span(ratios []float64) string {
	switch len(ratios) {
	case 0:
		return ""
	case 1:
		return short(ratios[0])
	}
	return fmt.Sprintf("%s (%s–%s)", short(GeoMean(ratios)), short(slices.Min(ratios)), short(slices.Max(ratios)))
}

// short writes three digits.
func short(ratio float64) string {
	if ratio >= 10 {
		return fmt.Sprintf("%.0f", ratio)
	}
	return fmt.Sprintf("%.2f", ratio)
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
