// Package cluster tries what becomes of requests when parts of a cluster fail: workers that are
// killed, frozen or cut off, a bus that loses a server, a router that starts again. The
// processes are real, and so are the bundle, the streams and the requests over HTTP; only the
// executors sleep in place of computing, as two cores cannot stand for eight machines.
package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"weft/bundle"
	"weft/bundle/builtin"
	"weft/safetensors"
)

// Lab starts processes of weft and ends them.
type Lab struct {
	Program string    // weft
	Dir     string    // scratch, which the caller removes
	Log     io.Writer // gets what the processes say, nil: nobody does

	latencies string // file
	mu        sync.Mutex
	processes []*Process
}

// Latency is what the executors of a lab sleep for a batch of images by the subnet that needs
// part (0 to 1) of the largest one's multiply-adds. A worker runs 95 images a second by the
// largest subnet, in batches of 16.
func Latency(part float64, images int) time.Duration {
	each := 1 + 9*part
	return time.Duration((8 + each*float64(images)) * float64(time.Millisecond))
}

// NewLab prepares a lab.
func NewLab(program, dir string, log io.Writer) (*Lab, error) {
	l := &Lab{Program: program, Dir: dir, Log: log, latencies: filepath.Join(dir, "latencies.json")}
	raw := builtin.Model()
	f, err := safetensors.Read(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	b, err := bundle.Decode(f)
	if err != nil {
		return nil, err
	}
	most := 0.0
	for _, s := range b.Points() {
		most = max(most, float64(s.MACs))
	}
	sum := sha256.Sum256(raw)
	p := &bundle.Profile{Digest: hex.EncodeToString(sum[:]), Machine: bundle.Machine{CPU: "asleep", Threads: 1}}
	for _, s := range b.Points() {
		t := bundle.SubnetTiming{Arch: s.Name()}
		for images := 1; images <= 16; images++ {
			t.LatencyUS = append(t.LatencyUS, float64(Latency(float64(s.MACs)/most, images).Microseconds()))
		}
		p.Subnets = append(p.Subnets, t)
	}
	return l, bundle.WriteProfile(l.latencies, p)
}

// Close kills what still runs.
func (l *Lab) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.processes {
		p.Kill()
	}
}

// Process is one of weft's.
type Process struct {
	Name string
	cmd  *exec.Cmd
	out  transcript
	done chan struct{} // closed when it has ended
	err  error         // then
}

// transcript keeps what a process writes.
type transcript struct {
	mu      sync.Mutex
	name    string
	text    []byte
	copy    io.Writer
	written chan struct{} // closed at the next write
}

// Write implements io.Writer.
func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	close(t.written)
	t.written = make(chan struct{})
	if t.copy != nil {
		fmt.Fprintf(t.copy, "%s: %s", t.name, b)
	}
	return len(b), nil
}

func (t *transcript) look() (string, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text), t.written
}

// start runs weft with these arguments after a prefix, which may be empty.
func (l *Lab) start(name string, prefix []string, args ...string) (*Process, error) {
	line := append(append(prefix, l.Program), args...)
	p := &Process{Name: name, done: make(chan struct{})}
	p.out = transcript{name: name, copy: l.Log, written: make(chan struct{})}
	p.cmd = exec.Command(line[0], line[1:]...) //nolint:noctx // it is to be killed in many ways
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(l.Dir, "cache"))
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.processes = append(l.processes, p)
	return p, nil
}

// patience is how long a process may take to say something.
const patience = 30 * time.Second

// Await returns the groups of the first match in what the process says.
func (p *Process) Await(ctx context.Context, pattern string) ([]string, error) {
	re := regexp.MustCompile(pattern)
	late := time.After(patience)
	for {
		text, written := p.out.look()
		if m := re.FindStringSubmatch(text); m != nil {
			return m, nil
		}
		select {
		case <-written:
		case <-p.done:
			return nil, fmt.Errorf("%s ended (%w) and said %s", p.Name, p.err, text)
		case <-late:
			return nil, fmt.Errorf("%s does not say %s but %s", p.Name, pattern, text)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Says returns what the process has written so far.
func (p *Process) Says() string {
	text, _ := p.out.look()
	return text
}

// Kill ends the process as a crash would.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// Freeze stops the process until Thaw. Its connections stay.
func (p *Process) Freeze() { p.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { p.signal(syscall.SIGCONT) }

// Stop asks the process to end, and returns how it did.
func (p *Process) Stop(ctx context.Context) error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Process) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		panic(err) // a process of our own takes any signal
	}
}
