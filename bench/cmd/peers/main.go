// Command peers measures weft beside other engines on the same networks, images and
// threads: each engine in a process of its own, in turns, after a check that both compute
// the same. It prints a table and writes it as JSON and as a plot.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"weft/bench/compare"
	"weft/bench/machine"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("peers: ")
	var o options
	flag.StringVar(&o.bin, "bin", "../bin/bench", "folder of weft-peer and ort-peer")
	flag.StringVar(&o.lib, "lib", "node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1", "ONNX Runtime's library")
	flag.StringVar(&o.python, "python", "/usr/bin/python3", "Python with torch")
	flag.StringVar(&o.script, "script", "torch/peer.py", "PyTorch's side")
	flag.StringVar(&o.out, "out", "", "folder for the results; with -only, others that are there stay")
	flag.StringVar(&o.only, "only", "", "measure only what has one of these words, separated by commas, in a name such as 'infer fp32 mbv3-32 32px b8 2T'")
	flag.IntVar(&o.subnets, "subnets", 6, "subnets of each space")
	flag.DurationVar(&o.budget, "budget", time.Second, "time for each comparison, about")
	flag.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait at first for the machine to become idle")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

type options struct {
	bin, lib, python, script, out, only string

	subnets int
	budget  time.Duration
	wait    time.Duration
}

// run measures until it is done or ctx ends, and then prints and writes what there is.
func run(ctx context.Context, o options) error {
	b := &bench{options: o, ctx: ctx, versions: map[string]string{}}
	start, load := time.Now(), machine.LoadAverage()
	if err := b.waitIdle(o.wait); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "weft-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	b.tmp = tmp
	failed := errors.Join(b.infer(), b.train(), b.memory(), ctx.Err())
	meta := compare.Meta{
		Machine: machine.Describe(), Date: start.UTC().Format(time.RFC3339), Seconds: time.Since(start).Round(time.Second).Seconds(),
		Load: [2]string{load, machine.LoadAverage()}, Versions: b.versions, Revision: revision(), Memory: b.held,
	}
	var text bytes.Buffer
	if err := b.print(&text, meta); err != nil {
		return err
	}
	if _, err := text.WriteTo(os.Stdout); err != nil {
		return err
	}
	if o.out != "" {
		failed = errors.Join(failed, b.write(meta))
	}
	return failed
}

// print writes the results as tables.
func (b *bench) print(w io.Writer, m compare.Meta) error {
	fmt.Fprintf(w, "%s, %d cores, Linux %s, %s\n", m.Machine.CPU, m.Machine.Cores, m.Machine.Kernel, m.Date)
	for _, name := range []string{"weft", ortName, torchName} {
		if v := m.Versions[name]; v != "" {
			fmt.Fprintf(w, "%s: %s\n", name, v)
		}
	}
	fmt.Fprintf(w, "load average before %s, after %s; %.0f s\n", m.Load[0], m.Load[1], m.Seconds)
	if err := compare.Table(w, b.points); err != nil {
		return err
	}
	if slices.ContainsFunc(b.points, func(p compare.Point) bool { return p.Others > 0 }) {
		fmt.Fprintf(w, "* other processes used more than %g of a core meanwhile\n", compare.Busy)
	}
	fmt.Fprintln(w)
	for _, h := range b.held {
		fmt.Fprintf(w, "memory of %d networks of %s at %d pixels in %s: %.1f MB (ratio %.2f)\n",
			h.Networks, h.Space, h.Pixels, h.Engine, float64(h.Bytes)/1e6, h.Ratio)
	}
	if len(b.points) == 0 {
		return nil
	}
	return compare.Summary(w, b.points)
}

// write puts the results into the folder's files and draws the plot.
func (b *bench) write(m compare.Meta) error {
	path := filepath.Join(b.out, "peers.json")
	metaPath := filepath.Join(b.out, "peers.meta.json")
	var all []compare.Point
	var old compare.Meta
	if b.only != "" {
		if err := errors.Join(compare.Read(path, &all), compare.Read(metaPath, &old)); err != nil {
			return err
		}
	}
	all = compare.Merge(all, b.points)
	if m.Memory == nil {
		m.Memory = old.Memory
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	b.points, b.held = all, m.Memory
	var text bytes.Buffer
	return errors.Join(
		b.print(&text, m), os.WriteFile(filepath.Join(b.out, "peers.txt"), text.Bytes(), 0o644),
		compare.Write(path, all), compare.Write(metaPath, m), draw(b.out, all),
	)
}

// selected reports whether the user wants a measurement of this name.
func (b *bench) selected(name string) bool {
	if b.only == "" {
		return true
	}
	for word := range strings.SplitSeq(b.only, ",") {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
