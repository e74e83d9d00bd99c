package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"weft/bench/compare"
	"weft/bench/machine"
	"weft/bench/peer"
)

// Names of the peers in tables and files.
const (
	ortName   = "onnxruntime"
	torchName = "pytorch"
)

// bench is a run of the bench in progress.
type bench struct {
	options

	ctx      context.Context // ends when the user interrupts
	tmp      string          // for models and jobs
	versions map[string]string
	points   []compare.Point
	held     []compare.Memory
}

func (b *bench) startWeft() (*peer.Proc, error) {
	return b.start("weft", exec.Command(filepath.Join(b.bin, "weft-peer")), "")
}

func (b *bench) startORT() (*peer.Proc, error) {
	lib, err := filepath.Abs(b.lib)
	if err != nil {
		return nil, err
	}
	return b.start(ortName, exec.Command(filepath.Join(b.bin, "ort-peer")), lib)
}

func (b *bench) startTorch() (*peer.Proc, error) {
	return b.start(torchName, exec.Command(b.python, b.script), "")
}

// start runs an engine and notes its version.
func (b *bench) start(name string, cmd *exec.Cmd, lib string) (*peer.Proc, error) {
	p, err := peer.Start(name, cmd)
	if err != nil {
		return nil, err
	}
	a, err := p.Call(peer.Request{Do: "hello", Lib: lib})
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("%w (make bench-peers installs what is needed)", err)
	}
	b.versions[name] = a.Version
	return p, nil
}

// engine is a process whose threads can be waited for.
type engine struct{ *peer.Proc }

// Settle implements compare.Side.
func (e engine) Settle() error { return machine.Settle(e.PID(), 200*time.Millisecond, time.Sleep) }

// duel compares two engines on what they have loaded and appends the point; it measures
// once more when the machine was busy and keeps the calmer of both.
func (b *bench) duel(p compare.Point, other, weft *peer.Proc) error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	e := compare.Effort{Slice: 30 * time.Millisecond, Budget: b.budget, Min: 3, Max: 15}
	var best *compare.Point
	for range 2 {
		var t compare.Timing
		others, err := b.watch([]int{os.Getpid(), other.PID(), weft.PID()}, func() (err error) {
			t, err = compare.Duel(engine{other}, engine{weft}, e)
			return err
		})
		if err != nil {
			return err
		}
		q := p
		q.PeerUS, q.WeftUS = micros(t.Peer), micros(t.Weft)
		q.Ratio, q.Rounds, q.Spread = t.Ratio(), t.Rounds, t.Spread
		if others > compare.Busy {
			q.Others = others
		}
		if best == nil || q.Others < best.Others {
			best = &q
		}
		if best.Others == 0 {
			break
		}
	}
	b.points = append(b.points, *best)
	log.Printf("%s %s: %.0f / %.0f µs = %.2f ± %.0f %% (others %.2f)",
		label(p), p.Subnet, best.PeerUS, best.WeftUS, best.Ratio, 50*best.Spread, best.Others)
	return nil
}

// label names a measurement for -only and for progress.
func label(p compare.Point) string {
	return fmt.Sprintf("%s %s %dpx b%d %dT", p.Work, p.Space, p.Pixels, p.Batch, p.Threads)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// watch runs f and returns how many cores were used by processes other than the given.
func (b *bench) watch(pids []int, f func() error) (float64, error) {
	before, err := machine.Sample(time.Now(), pids...)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := machine.Sample(time.Now(), pids...)
	return after.Others(before), err
}

// waitIdle waits until the machine is idle, at most so long, and says so when it is not.
func (b *bench) waitIdle(most time.Duration) error {
	for end := time.Now().Add(most); ; {
		others, err := b.watch([]int{os.Getpid()}, func() error { time.Sleep(time.Second); return nil })
		if err != nil || others <= 2*compare.Busy {
			return err
		}
		if time.Now().After(end) {
			log.Printf("the machine is not idle (%.2f cores in use): rows marked * are not to be trusted", others)
			return nil
		}
	}
}

// revision is the version of the source that this was built from, if known.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var rev []string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = append(rev, s.Value[:min(12, len(s.Value))])
		case s.Key == "vcs.modified" && s.Value == "true":
			rev = append(rev, "with changes")
		}
	}
	return strings.Join(rev, " ")
}
