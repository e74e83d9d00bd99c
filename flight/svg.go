package flight

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"time"

	"weft/serve"
)

// Measures of the picture, in pixels.
const (
	svgWidth   = 1200
	svgLeft    = 110 // of the rows
	svgRight   = 20
	svgRow     = 34 // a worker's
	svgQueue   = 90 // the chart of the queue
	svgTop     = 64
	svgLegend  = 20 // a line of the legend
	svgColumns = 5  // of the legend
	svgMisses  = 26
)

const svgStyle = `<style>
text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:15px;font-weight:600}.axis,.row{stroke:#ccc;stroke-width:1}
.queue{fill:#bbb}.miss{fill:#d62728}.missed{stroke:#d62728;stroke-width:2}.plain{stroke:#fff;stroke-width:.5}
.span{stroke:#d62728;stroke-width:1.5;stroke-dasharray:4 3;fill:none}.back{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#ccc}.axis,.row{stroke:#444}.queue{fill:#666}.back{fill:#161616}.plain{stroke:#161616}.miss{fill:#ff6b6b}.missed,.span{stroke:#ff6b6b}}
</style>
`

// SVG draws what happened in from..to: what waited, a row a worker with its batches,
// coloured by subnet, the darker the more accurate, those of other models grey, and the requests that missed
// their deadlines, at these. focus, which may be nil, is shown from its arrival to its deadline.
func (m *Model) SVG(from, to time.Duration, focus *serve.Record) []byte {
	d := &drawing{Model: m, from: from, to: max(to, from+1), focus: focus, workers: m.rows()}
	legend := svgLegend * ((len(m.Subnets) + svgColumns - 1) / svgColumns)
	d.queueAt = svgTop + legend
	d.rowsAt = d.queueAt + svgQueue + 16
	d.missesAt = d.rowsAt + svgRow*len(d.workers) + 6
	height := d.missesAt + svgMisses + 30
	fmt.Fprintf(&d.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`+"\n%s", svgWidth, height, svgStyle)
	fmt.Fprintf(&d.b, `<rect class="back" width="%d" height="%d"/>`+"\n", svgWidth, height)
	d.head()
	d.axis(height)
	d.queue()
	d.batches()
	d.misses()
	d.b.WriteString("</svg>\n")
	return d.b.Bytes()
}

// drawing is a picture under way.
type drawing struct {
	*Model
	b                         bytes.Buffer
	from, to                  time.Duration
	focus                     *serve.Record
	workers                   []int // by row
	queueAt, rowsAt, missesAt int   // y
}

// rows returns the workers that ran batches.
func (m *Model) rows() (workers []int) {
	for _, b := range m.shared.batches {
		if !slices.Contains(workers, b.Worker) {
			workers = append(workers, b.Worker)
		}
	}
	slices.Sort(workers)
	return workers
}

// x returns where a time is, within the rows.
func (d *drawing) x(t time.Duration) float64 {
	part := float64(t-d.from) / float64(d.to-d.from)
	return svgLeft + min(max(part, 0), 1)*(svgWidth-svgLeft-svgRight)
}

// colour returns that of a subnet: light and yellow for the least accurate, dark and blue for the most.
func (d *drawing) colour(subnet int) string {
	part := float64(subnet) / float64(max(len(d.Subnets)-1, 1))
	return fmt.Sprintf("hsl(%.0f 60%% %.0f%%)", 55+part*185, 72-part*34)
}

func (d *drawing) head() {
	fmt.Fprintf(&d.b, `<text class="title" x="12" y="24">%s under %s: %v</text>`+"\n", html.EscapeString(d.Name), html.EscapeString(d.Policy), round(d.to-d.from))
	for i, s := range d.Subnets {
		x, y := 12+i%svgColumns*(svgWidth-24)/svgColumns, 44+i/svgColumns*svgLegend
		fmt.Fprintf(&d.b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`, x, y-10, d.colour(i))
		fmt.Fprintf(&d.b, `<text x="%d" y="%d">%s (%.2f %%)<title>%s</title></text>`+"\n", x+17, y, html.EscapeString(short(s.Name)), 100*s.Accuracy, html.EscapeString(s.Name))
	}
}

// short cuts a long name.
func short(name string) string {
	const most = 16
	if r := []rune(name); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return name
}

// axis draws times after the focus' arrival or, without one, after from.
func (d *drawing) axis(height int) {
	zero := d.from
	if d.focus != nil {
		zero = d.focus.Arrival
	}
	step := niceStep(d.to - d.from)
	for k := int64(math.Ceil(float64(d.from-zero) / float64(step))); ; k++ {
		at := zero + time.Duration(k)*step
		if at > d.to {
			break
		}
		fmt.Fprintf(&d.b, `<path class="axis" d="M%.1f %dV%d"/><text x="%.1f" y="%d" text-anchor="middle">%v</text>`+"\n",
			d.x(at), d.queueAt, height-22, d.x(at), height-8, time.Duration(k)*step)
	}
}

// niceStep returns a round time of which some ten make up the whole.
func niceStep(whole time.Duration) time.Duration {
	step := time.Duration(math.Pow(10, math.Floor(math.Log10(float64(max(whole/10, 1))))))
	for _, k := range []time.Duration{1, 2, 5} {
		if whole/(k*step) <= 12 {
			return k * step
		}
	}
	return 10 * step
}

// queue draws the number of requests that wait.
func (d *drawing) queue() {
	type change struct {
		at time.Duration
		n  int
	}
	var changes []change
	for _, r := range d.arrivals {
		if out := d.left(r); out > r.Arrival {
			changes = append(changes, change{r.Arrival, 1}, change{out, -1})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.n, b.n)) })
	most, n := 0, 0
	for _, c := range changes {
		n += c.n
		if d.from <= c.at && c.at <= d.to {
			most = max(most, n, n-c.n)
		}
	}
	y := func(n int) float64 {
		return float64(d.queueAt+svgQueue) - float64(n)/float64(max(most, 1))*(svgQueue-10)
	}
	fmt.Fprintf(&d.b, `<path class="queue" d="M%d %.1f`, svgLeft, y(0))
	n = 0
	for _, c := range changes {
		if c.at > d.to {
			break
		}
		if c.at >= d.from {
			fmt.Fprintf(&d.b, "H%.1fV%.1f", d.x(c.at), y(n+c.n))
		} else {
			fmt.Fprintf(&d.b, "V%.1f", y(n+c.n))
		}
		n += c.n
	}
	fmt.Fprintf(&d.b, `H%dV%.1fz"/>`, svgWidth-svgRight, y(0))
	fmt.Fprintf(&d.b, `<text x="12" y="%d">waiting</text><text x="12" y="%d">(at most %d)</text>`+"\n", d.queueAt+svgQueue-20, d.queueAt+svgQueue-4, most)
}

// batches draws a row a worker.
func (d *drawing) batches() {
	for row, w := range d.workers {
		y := d.rowsAt + row*svgRow
		fmt.Fprintf(&d.b, `<text x="12" y="%d">worker %d</text><path class="row" d="M%d %dH%d"/>`+"\n", y+svgRow/2+2, w, svgLeft, y+svgRow-2, svgWidth-svgRight)
	}
	for _, b := range d.During(d.from, d.to) {
		y := d.rowsAt + slices.Index(d.workers, b.Worker)*svgRow
		class, fill := "plain", d.colour(b.Subnet)
		if b.Missed > 0 {
			class = "missed"
		}
		if b.Model != d.Model {
			fill = "#888"
		}
		fmt.Fprintf(&d.b, `<rect class="%s" x="%.2f" y="%d" width="%.2f" height="%d" fill="%s"><title>%s, batch %d: %s in %s, %v (profiled %v), %d of %s missed</title></rect>`+"\n",
			class, d.x(b.Dispatched), y+3, max(d.x(b.Computed)-d.x(b.Dispatched), 0.5), svgRow-7, fill,
			html.EscapeString(b.Model.Name), b.Number, count(b.Images, "image"), html.EscapeString(b.SubnetName()), round(b.Computed-b.Dispatched), round(b.Profiled), b.Missed, count(b.Requests, "request"))
	}
}

// misses marks the deadlines that were missed.
func (d *drawing) misses() {
	fmt.Fprintf(&d.b, `<text x="12" y="%d">missed</text>`+"\n", d.missesAt+16)
	for _, r := range d.Missed() {
		if r.Deadline < d.from || r.Deadline > d.to {
			continue
		}
		fmt.Fprintf(&d.b, `<path class="miss" d="M%.1f %dl-4 10h8z"><title>request %d, %s: had %v</title></path>`+"\n", d.x(r.Deadline), d.missesAt+5, r.ID, r.Outcome(), round(r.Deadline-r.Arrival))
	}
	if r := d.focus; r != nil {
		a, b := d.x(r.Arrival), d.x(r.Deadline)
		fmt.Fprintf(&d.b, `<path class="span" d="M%.1f %dV%dM%.1f %dV%d"/><text x="%.1f" y="%d">request %d from its arrival to its deadline</text>`+"\n",
			a, d.queueAt, d.missesAt+svgMisses, b, d.queueAt, d.missesAt+svgMisses, a+4, d.queueAt+10, r.ID)
	}
}
