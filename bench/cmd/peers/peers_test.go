package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/bench/compare"
	"weft/bench/peer"
)

// TestMain makes the test binary an engine when it is called as one. Runs of the peer
// take 2 ms and weft's 1 ms; logits differ for a batch of eight.
func TestMain(m *testing.M) {
	name := filepath.Base(os.Args[0])
	if name != "weft-peer" && name != "ort-peer" {
		os.Exit(m.Run())
	}
	weft, batch := name == "weft-peer", 0
	err := peer.Serve(os.Stdin, os.Stdout, func(q peer.Request) (peer.Reply, error) {
		switch q.Do {
		case "hello":
			return peer.Reply{Version: name + " 1"}, nil
		case "export":
			return peer.Reply{Names: q.Subnets}, nil
		case "load":
			if !weft && q.Path != q.Subnets[0] {
				return peer.Reply{}, fmt.Errorf("model %q for subnet %v", q.Path, q.Subnets)
			}
			batch = q.Batch
			return peer.Reply{NS: 1}, nil
		case "logits":
			if weft && batch == 8 {
				return peer.Reply{Values: []float32{1, 2.1}}, nil
			}
			return peer.Reply{Values: []float32{1, 2}}, nil
		case "run":
			runs := time.Duration(q.Runs)
			if weft {
				return peer.Reply{NS: int64(runs * time.Millisecond)}, nil
			}
			return peer.Reply{NS: int64(2 * runs * time.Millisecond)}, nil
		}
		return peer.Reply{}, fmt.Errorf("unknown request %q", q.Do)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// engines returns a folder with both engines.
func engines(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"weft-peer", "ort-peer"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRun(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("the system tells nothing about its processes")
	}
	o := options{bin: engines(t), lib: "none", out: filepath.Join(t.TempDir(), "results"), only: "fp32 resnet-20", subnets: 6, budget: time.Millisecond}
	err := run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "b8 1T: not timed, onnxruntime and weft do not compute the same") {
		t.Errorf("logits differ in batches of eight: %v", err)
	}
	var points []compare.Point
	if err := compare.Read(filepath.Join(o.out, "peers.json"), &points); err != nil {
		t.Fatal(err)
	}
	if len(points) != 1 {
		t.Fatalf("points %+v", points)
	}
	p := points[0]
	p.Others = 0 // the machine need not be idle for this
	want := compare.Point{
		Peer: "onnxruntime", Work: "infer fp32", Space: "resnet-20", Subnet: "d3", Pixels: 32, Batch: 1, Threads: 1,
		PeerUS: 2000, WeftUS: 1000, Ratio: 2, Rounds: 3,
	}
	if p != want {
		t.Errorf("got %+v, want %+v", p, want)
	}
	for file, text := range map[string]string{
		"peers.txt":       "2000 / 1000 = 2.00",
		"peers.svg":       "infer fp32 resnet-20 32 px",
		"peers.meta.json": `"onnxruntime": "ort-peer 1"`,
	} {
		raw, err := os.ReadFile(filepath.Join(o.out, file))
		if err != nil || !strings.Contains(string(raw), text) {
			t.Errorf("%s lacks %q: %v", file, text, err)
		}
	}
}

func TestRunStopsWhenInterrupted(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("the system tells nothing about its processes")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := options{bin: engines(t), lib: "none", out: filepath.Join(t.TempDir(), "results"), only: "fp32 resnet-20", subnets: 6}
	if err := run(ctx, o); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("interrupted: %v", err)
	}
	if _, err := os.Stat(filepath.Join(o.out, "peers.txt")); err != nil {
		t.Error(err)
	}
}

func TestSelected(t *testing.T) {
	p := compare.Point{Work: "infer fp32", Space: "mbv3-32", Pixels: 32, Batch: 8, Threads: 2}
	for only, want := range map[string]bool{"": true, "mbv3": true, "train,b8 2T": true, "train,1T": false} {
		b := bench{options: options{only: only}}
		if got := b.selected(label(p)); got != want {
			t.Errorf("-only %q selects %q: %v", only, label(p), got)
		}
	}
}

func TestParetoLike(t *testing.T) {
	a, err := paretoLike(300)
	if err != nil {
		t.Fatal(err)
	}
	b, err := paretoLike(300)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range a {
		if a[i] != b[i] || seen[a[i]] {
			t.Fatalf("subnet %d: %s and %s", i, a[i], b[i])
		}
		seen[a[i]] = true
	}
}
