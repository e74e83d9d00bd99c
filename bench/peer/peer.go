// Package peer lets a controller drive engines that run in processes of their own: it
// writes one request a line to the engine's standard input and reads one reply a line
// from its standard output, both as JSON. What an engine writes to its standard error
// passes through.
package peer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Request asks an engine for one thing. Fields that Do needs not are zero.
type Request struct {
	Do string `json:"do"`

	// Which network, and how to run it.
	Space   string   `json:"space,omitempty"`
	Pixels  int      `json:"pixels,omitempty"`
	Subnets []string `json:"subnets,omitempty"`
	Int8    bool     `json:"int8,omitempty"`
	Batch   int      `json:"batch,omitempty"`
	Threads int      `json:"threads,omitempty"`
	// Variant names one of several ways in which an engine can do the same work.
	Variant string `json:"variant,omitempty"`

	Path string `json:"path,omitempty"` // file or folder to read or to write
	Lib  string `json:"lib,omitempty"`  // shared library of the engine

	Runs int  `json:"runs,omitempty"` // timed ones
	Warm bool `json:"warm,omitempty"` // run once before, untimed
}

// Reply answers a Request. Error is empty when it was done.
type Reply struct {
	Error   string    `json:"error,omitempty"`
	Version string    `json:"version,omitempty"`
	NS      int64     `json:"ns,omitempty"` // what the request asks to time
	Shape   []int     `json:"shape,omitempty"`
	Values  []float32 `json:"values,omitempty"` // logits or losses
	Names   []string  `json:"names,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`
}

// Serve answers requests with handle until r ends. A failed request is answered with its
// error and ends nothing.
func Serve(r io.Reader, w io.Writer, handle func(Request) (Reply, error)) error {
	in, out := json.NewDecoder(r), json.NewEncoder(w)
	for {
		var q Request
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		a, err := handle(q)
		if err != nil {
			a = Reply{Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			return fmt.Errorf("write a reply: %w", err)
		}
	}
}

// Proc is an engine in a child process. It is not safe for concurrent use.
type Proc struct {
	Name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// Start runs a command as an engine. Close ends it.
func Start(name string, cmd *exec.Cmd) (*Proc, error) {
	p := &Proc{Name: name, cmd: cmd}
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// PID returns the process id of the engine.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Call sends a request and waits for its reply.
func (p *Proc) Call(q Request) (Reply, error) {
	line, err := json.Marshal(q)
	if err != nil {
		return Reply{}, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return Reply{}, fmt.Errorf("%s has ended: %w", p.Name, err)
	}
	if line, err = p.out.ReadBytes('\n'); err != nil {
		return Reply{}, fmt.Errorf("%s ended at request %q: %w", p.Name, q.Do, err)
	}
	var a Reply
	if err := json.Unmarshal(line, &a); err != nil {
		return Reply{}, fmt.Errorf("%s answered request %q with %.80q: %w", p.Name, q.Do, line, err)
	}
	if a.Error != "" {
		return Reply{}, fmt.Errorf("%s: %s", p.Name, a.Error)
	}
	return a, nil
}

// Run asks for so many timed runs of what is loaded and returns the time of one.
func (p *Proc) Run(runs int, warm bool) (time.Duration, error) {
	a, err := p.Call(Request{Do: "run", Runs: runs, Warm: warm})
	if err == nil && a.NS <= 0 {
		err = fmt.Errorf("%s reports %d ns for %d runs", p.Name, a.NS, runs)
	}
	return time.Duration(a.NS) / time.Duration(max(runs, 1)), err
}

// Close ends the engine and waits for it.
func (p *Proc) Close() error {
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// Timed runs f as a "run" request asks and answers with the time that the runs took.
func Timed(q Request, f func() error) (Reply, error) {
	if q.Warm {
		if err := f(); err != nil {
			return Reply{}, err
		}
	}
	start := time.Now()
	for range q.Runs {
		if err := f(); err != nil {
			return Reply{}, err
		}
	}
	return Reply{NS: time.Since(start).Nanoseconds()}, nil
}
