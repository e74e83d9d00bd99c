package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"weft/dash"
)

// topJob looks on while a server works.
type topJob struct {
	url    string
	model  string // the one to show ("": the first)
	once   bool
	asJSON bool
	clientFlags
}

// newTopCmd returns the top command.
func newTopCmd() *cobra.Command {
	var job topJob
	cmd := &cobra.Command{
		Use:   "top [URL]",
		Short: "Show a server while it works, in the terminal",
		Long: `Follow a server: what arrives, how much of it is in time, which subnets answer, what waits, what the workers do. It is the
live page's data (see URL/dash/ in a browser), four times a second. Keys: q quits, tab shows the next model.

Where the output is no terminal, one picture of the latest ten seconds is printed.`,
		Example: "  weft top\n  weft top https://models.example:8443 --ca ca.pem --key-file key.txt\n  weft top --json | jq .tick.models[0].met",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("unexpected argument %q", args[1])
			}
			return job.clientFlags.validate()
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				job.url = args[0]
			}
			return job.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	job.url = "http://127.0.0.1:8080"
	f.StringVar(&job.model, "model", "", "model to show (default: the first one)")
	f.BoolVar(&job.once, "once", false, "print one picture and end")
	f.BoolVar(&job.asJSON, "json", false, "print each event as a line of JSON: hello, models, tick (with --once: up to the latest tick)")
	job.clientFlags.flags(f)
	return cmd
}

// run follows the server.
func (j *topJob) run(ctx context.Context, in io.Reader, out io.Writer) error {
	opt, err := j.options()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: opt.TLS, Proxy: http.ProxyFromEnvironment}}
	watch := func(ctx context.Context, on func(dash.Event) error) error {
		err := dash.Watch(ctx, client, j.url, opt.Key, on)
		if errors.Is(err, syscall.ECONNREFUSED) {
			err = fmt.Errorf("nothing listens at %s; start 'weft serve' or name its address", j.url)
		}
		return err
	}
	if j.asJSON {
		return j.printEvents(ctx, watch, out)
	}
	keys, screen := terminal(in), terminal(out)
	if j.once || keys == nil || screen == nil {
		return j.printOnce(ctx, watch, out)
	}
	return j.follow(ctx, watch, keys, screen)
}

// terminal returns the terminal that a stream is, or nil.
func terminal(stream any) *os.File {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}

// watchFunc is dash.Watch of one server.
type watchFunc func(ctx context.Context, on func(dash.Event) error) error

// errSeen ends a watch that has shown what it was to show.
var errSeen = errors.New("seen")

// printEvents prints events as lines of JSON.
func (j *topJob) printEvents(ctx context.Context, watch watchFunc, out io.Writer) error {
	enc := json.NewEncoder(out)
	behind := 0
	err := watch(ctx, func(e dash.Event) error {
		if e.Hello != nil {
			behind = e.Hello.Missed + 1
		}
		behind--
		// What is of the past is left out where one picture is wanted.
		if j.once && e.Tick != nil && behind > 0 {
			return nil
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
		if j.once && e.Tick != nil {
			return errSeen
		}
		return nil
	})
	return watched(ctx, err)
}

// watched returns the error of a watch, unless that has ended as it should.
func watched(ctx context.Context, err error) error {
	if errors.Is(err, errSeen) || ctx.Err() != nil {
		return nil
	}
	return err
}

// Of a picture that nobody sees grow.
const onceWidth, onceHeight = 100, 60

// printOnce prints one picture.
func (j *topJob) printOnce(ctx context.Context, watch watchFunc, out io.Writer) error {
	v := topView{url: j.url, model: j.model, plain: true}
	err := watch(ctx, func(e dash.Event) error {
		if v.apply(e) {
			return errSeen
		}
		return nil
	})
	if !errors.Is(err, errSeen) {
		return err
	}
	if err := v.check(); err != nil {
		return err
	}
	for _, line := range v.lines(onceWidth, onceHeight) {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

// retryAfter is the pause before a server that is gone is asked again.
const retryAfter = time.Second

// follow draws on the terminal until q is pressed or ctx ends.
func (j *topJob) follow(ctx context.Context, watch watchFunc, keys, screen *os.File) error {
	v := topView{url: j.url, model: j.model, plain: os.Getenv("NO_COLOR") != ""}
	ctx, cancel := context.WithCancel(ctx)
	t, err := openTerminal(keys, screen)
	if err != nil {
		cancel()
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer t.restore()
	defer cancel()

	events, ended := make(chan dash.Event), make(chan error, 1)
	start := func() {
		all.Go(func() {
			defer t.restoreOnPanic()
			ended <- watch(ctx, func(e dash.Event) error {
				select {
				case events <- e:
				case <-ctx.Done():
				}
				return ctx.Err()
			})
		})
	}
	pressed := t.read()
	start()
	clock := time.NewTicker(retryAfter)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			if !v.apply(e) {
				continue
			}
			if err := v.check(); err != nil {
				return err
			}
		case err := <-ended:
			if len(v.ticks) == 0 && v.gone == nil {
				return err // it was never there
			}
			v.gone, v.trying = err, false
		case key := <-pressed:
			switch key {
			case 'q', 'Q', ctrlC, ctrlD:
				return nil
			case '\t', ' ':
				v.next()
			}
		case <-clock.C:
			if v.gone != nil && !v.trying {
				v.trying = true
				start()
			}
		}
		if err := t.draw(&v); err != nil {
			return err
		}
	}
}
