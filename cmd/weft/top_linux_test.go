package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/dash"
	"weft/sched"
	"weft/serve"
)

// openPTY returns a terminal's two ends: what the program has, and who sits before it.
func openPTY(t *testing.T) (program, user *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudoterminals here: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return program, user
}

// watchedServer serves a model whose executor sleeps, and its page.
func watchedServer(t *testing.T) (url string) {
	t.Helper()
	p, err := sched.NewProfile([]sched.Subnet{{Name: "only", Accuracy: 0.9, Latency: []time.Duration{time.Millisecond}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := serve.New([]serve.Model{{
		Name: "m", H: 2, W: 2, C: 1, Classes: 3, Profile: p, Executors: []serve.Executor{&serve.SleepExecutor{Profile: p, Classes: 3}},
	}}, serve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	page := dash.New(s, dash.Options{Interval: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { page.Run(ctx) })
	srv := httptest.NewServer(page.Handler(nil))
	t.Cleanup(func() {
		cancel()
		all.Wait()
		srv.Close()
		s.Shutdown(context.Background())
	})
	return srv.URL
}

// picture collects what a program draws.
type picture struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *picture) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *picture) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// await waits until the picture has the text after what it has had before.
func (p *picture) await(t *testing.T, text string) {
	t.Helper()
	from := len(p.String())
	for range 1000 {
		if strings.Contains(p.String()[from:], text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no %q in %q", text, p.String()[from:])
}

// On a terminal top draws in its size, follows when that changes, and gives the terminal back as it was, whether q is
// pressed, Ctrl-C typed or the process asked to end.
func TestTopGivesTheTerminalBack(t *testing.T) {
	url := watchedServer(t)
	for name, end := range map[string]func(user *os.File, p *os.Process){
		"q":       func(user *os.File, _ *os.Process) { user.WriteString("q") },
		"ctrl-c":  func(user *os.File, _ *os.Process) { user.Write([]byte{ctrlC}) },
		"SIGTERM": func(_ *os.File, p *os.Process) { p.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			program, user := openPTY(t)
			setSize(t, program, 60, 20)
			before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			var seen picture
			go io.Copy(&seen, user)
			cmd := exec.CommandContext(t.Context(), "weft", "top", url)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			seen.await(t, "\x1b[?1049h")
			seen.await(t, "live")
			during, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			if during.Lflag&(unix.ICANON|unix.ECHO) != 0 {
				t.Error("the terminal echoes what is typed")
			}
			if strings.Contains(seen.String(), "policy weft, 1 subnet") {
				setSize(t, program, 20, 5)
				seen.await(t, "m\x1b[0m\x1b[2m  version 1, policy\x1b[0m\x1b[K")
			} else {
				t.Errorf("the model is missing: %q", seen.String())
			}
			end(user, cmd.Process)
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			if *after != *before {
				t.Errorf("the terminal was %+v and is %+v", before, after)
			}
			time.Sleep(20 * time.Millisecond) // what was drawn last is on its way
			if text := seen.String(); !strings.HasSuffix(text, leaveScreen) {
				t.Errorf("the end is %q", text[max(0, len(text)-60):])
			}
		})
	}
}

func setSize(t *testing.T, f *os.File, width, height uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
}

// Where there is no terminal, one picture is printed; as JSON, line by line, until it ends.
func TestTopWithoutATerminal(t *testing.T) {
	url := watchedServer(t)
	out, err := exec.CommandContext(t.Context(), "weft", "top", url).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "m  version 1, policy weft, 1 subnet") || strings.Contains(string(out), "\x1b") {
		t.Errorf("%v %s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), "weft", "top", url, "--json", "--once").Output()
	if lines := strings.Split(string(out), "\n"); err != nil || len(lines) != 4 || !strings.HasPrefix(lines[0], `{"hello":`) || !strings.HasPrefix(lines[1], `{"models":[{`) || !strings.HasPrefix(lines[2], `{"tick":`) {
		t.Errorf("%v %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "weft", "top", url, "--json")
	var all picture
	cmd.Stdout = &all
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for strings.Count(all.String(), `{"tick":`) < 5 {
		time.Sleep(5 * time.Millisecond)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	out, err = exec.CommandContext(t.Context(), "weft", "top", url, "--once", "--model", "x").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "serves [m]: choose one with --model") {
		t.Errorf("%v %s", err, out)
	}
}
