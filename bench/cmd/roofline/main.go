// Command roofline measures every layer of one subnet of each family beside what the
// machine can do at most, the lesser of the rate of its multiply-adds and of its memory
// times the layer's arithmetic intensity (Williams, Waterman and Patterson 2009), and
// draws them.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gonum.org/v1/plot/plotter"

	"weft/bench/chart"
	"weft/bench/machine"
	"weft/bench/nets"
	"weft/kernel"
	"weft/kernel/peak"
	"weft/supernet"
)

// subjects are the networks whose layers are drawn: the middle one of the uniform subnets.
var subjects = []struct {
	space  string
	pixels int
}{{"resnet-32", 32}, {"ofa-resnet50d", 224}, {"ofa-mbv3", 224}}

func main() {
	log.SetFlags(0)
	log.SetPrefix("roofline: ")
	out := flag.String("out", "../docs/roofline.svg", "the picture")
	batch := flag.Int("batch", 8, "images a batch")
	rounds := flag.Int("rounds", 9, "rounds, of which each layer's shortest time counts")
	flag.Parse()
	if err := run(*out, *batch, *rounds); err != nil {
		log.Fatal(err)
	}
}

func run(out string, batch, rounds int) error {
	r := peak.Measure(time.Now)
	fmt.Printf("%s, one thread, batch %d, kernels %s: %.0f GF/s, caches %.0f GB/s, memory %.1f GB/s\n\n",
		machine.Describe().CPU, batch, kernel.Tier(), r.Flops/1e9, r.Cache/1e9, r.Memory/1e9)
	var all []layer
	for _, s := range subjects {
		layers, err := measure(s.space, s.pixels, batch, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", s.space, err)
		}
		all = append(all, layers...)
	}
	if err := report(all, &r); err != nil {
		return err
	}
	return draw(out, all, &r)
}

// layer is a layer of a subject, over the whole batch.
type layer struct {
	subject, name, class string
	flops, bytes         float64
	time                 time.Duration
}

func (l *layer) rate() float64      { return l.flops / l.time.Seconds() }
func (l *layer) intensity() float64 { return l.flops / l.bytes }

// measure times the layers of a space's middle subnet.
func measure(space string, pixels, batch, rounds int) ([]layer, error) {
	n, err := nets.New(space, pixels)
	if err != nil {
		return nil, err
	}
	all := nets.Uniform(n.Space, 1000)
	subnet := all[len(all)/2]
	if err := n.Calibrate(n.Space, []string{subnet}, nets.Enough(pixels)); err != nil {
		return nil, err
	}
	p, err := n.Plan(subnet)
	if err != nil {
		return nil, err
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	var layers []layer
	for _, l := range supernet.NewWorker(pool).Layers(p, nets.Images(n.Space.Input, batch), batch, rounds, time.Now) {
		layers = append(layers, layer{
			subject: fmt.Sprintf("%s %d px %s", space, pixels, subnet), name: l.Name, class: class(&l),
			flops: l.Flops(batch), bytes: l.Bytes(batch), time: l.Time,
		})
	}
	return layers, nil
}

// class groups layers that are computed alike.
func class(l *supernet.Layer) string {
	switch {
	case l.Kind == "conv" && strings.HasPrefix(l.Kernel, "winograd"):
		return "Winograd"
	case l.Kind == "conv" && l.K > 1:
		return "direct"
	case l.Kind == "conv":
		return "1x1"
	default:
		return l.Kind
	}
}

// report prints for each subject and class of layers its share of the time and how near
// its layers are to the roof, weighted by time.
func report(layers []layer, r *peak.Roof) error {
	type sum struct {
		count         int
		time          time.Duration
		flops, atRoof float64 // atRoof: seconds that the layers would take at the roof
	}
	var order [][2]string
	sums, totals := map[[2]string]*sum{}, map[string]time.Duration{}
	for i := range layers {
		l := &layers[i]
		k := [2]string{l.subject, l.class}
		if sums[k] == nil {
			sums[k] = &sum{}
			order = append(order, k)
		}
		s := sums[k]
		s.count++
		s.time += l.time
		s.flops += l.flops
		s.atRoof += r.Seconds(l.flops, l.bytes)
		totals[l.subject] += l.time
	}
	slices.SortStableFunc(order, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "network\tlayers\tnumber\tms\t% of time\tGF/s\t% of the roof")
	for _, k := range order {
		s := sums[k]
		fmt.Fprintf(t, "%s\t%s\t%d\t%.2f\t%.1f\t%.1f\t%.0f\n", k[0], k[1], s.count, float64(s.time)/1e6,
			100*float64(s.time)/float64(totals[k[0]]), s.flops/s.time.Seconds()/1e9, 100*s.atRoof/s.time.Seconds())
	}
	return t.Flush()
}

// draw plots the layers that compute under the roofs of memory and of the caches.
func draw(out string, layers []layer, r *peak.Roof) error {
	p := chart.Plot{
		Title: "Layers of three subnets and the machine's roof, one thread",
		X:     "arithmetic intensity, flop/byte", Y: "GF/s",
	}
	var at []float64
	for i := range layers {
		l := &layers[i]
		if l.flops == 0 {
			continue
		}
		at = append(at, l.intensity())
		p.Series = append(p.Series, chart.Series{
			Group: l.subject, Kind: l.class, XY: plotter.XYs{{X: l.intensity(), Y: l.rate() / 1e9}},
		})
	}
	lo, hi := slices.Min(at), slices.Max(at)
	p.Series = append(p.Series,
		chart.Series{Group: fmt.Sprintf("%.0f GF/s, caches %.0f GB/s", r.Flops/1e9, r.Cache/1e9), Line: true, XY: line(r, r.Cache, lo, hi)},
		chart.Series{Group: fmt.Sprintf("memory %.0f GB/s", r.Memory/1e9), Line: true, XY: line(r, r.Memory, lo, hi)})
	return p.Write(out)
}
