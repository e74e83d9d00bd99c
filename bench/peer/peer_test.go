package peer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// fake, set in the environment, makes the test binary an engine.
const fake = "WEFT_BENCH_FAKE"

func TestMain(m *testing.M) {
	switch os.Getenv(fake) {
	case "":
		os.Exit(m.Run())
	case "garbage":
		fmt.Println("ready")
		os.Exit(0)
	case "engine":
		if err := Serve(os.Stdin, os.Stdout, fakeEngine); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func fakeEngine(q Request) (Reply, error) {
	switch q.Do {
	case "hello":
		return Reply{Version: "fake 1"}, nil
	case "run":
		return Timed(q, func() error { time.Sleep(time.Millisecond); return nil })
	case "die":
		os.Exit(3)
	}
	return Reply{}, fmt.Errorf("unknown request %q", q.Do)
}

func start(t *testing.T, kind string) *Proc {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fake+"="+kind)
	p, err := Start("fake", cmd)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEngineInAProcessOfItsOwn(t *testing.T) {
	p := start(t, "engine")
	if a, err := p.Call(Request{Do: "hello"}); err != nil || a.Version != "fake 1" {
		t.Errorf("hello: %+v, %v", a, err)
	}
	if d, err := p.Run(3, true); err != nil || d < time.Millisecond || d > time.Second {
		t.Errorf("a run of 1 ms took %v, %v", d, err)
	}
	if _, err := p.Call(Request{Do: "fly"}); err == nil || err.Error() != `fake: unknown request "fly"` {
		t.Errorf("an unknown request: %v", err)
	}
	if _, err := p.Call(Request{Do: "hello"}); err != nil {
		t.Errorf("after a failed request: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestEngineThatEnds(t *testing.T) {
	p := start(t, "engine")
	if _, err := p.Call(Request{Do: "die"}); err == nil || !strings.Contains(err.Error(), `fake ended at request "die"`) {
		t.Errorf("a request that ends the engine: %v", err)
	}
	if err := p.Close(); err == nil {
		t.Error("closing an engine that failed: no error")
	}
}

func TestEngineThatTalksNonsense(t *testing.T) {
	p := start(t, "garbage")
	defer p.Close()
	if _, err := p.Call(Request{Do: "hello"}); err == nil || !strings.Contains(err.Error(), "ready") {
		t.Errorf("the reply is not JSON: %v", err)
	}
}

func TestServeRefusesWhatIsNoRequest(t *testing.T) {
	var out bytes.Buffer
	err := Serve(strings.NewReader(`{"do":"hello"} {`), &out, fakeEngine)
	if err == nil || !strings.Contains(err.Error(), "read a request") {
		t.Errorf("half a request: %v", err)
	}
	if got := out.String(); got != `{"version":"fake 1"}`+"\n" {
		t.Errorf("answered %q", got)
	}
}

func TestTimed(t *testing.T) {
	calls := 0
	a, err := Timed(Request{Runs: 4, Warm: true}, func() error { calls++; time.Sleep(time.Millisecond); return nil })
	if err != nil || calls != 5 {
		t.Errorf("%d calls for four runs and one before, %v", calls, err)
	}
	if a.NS < 4e6 {
		t.Errorf("four runs of 1 ms took %d ns", a.NS)
	}
	broken := errors.New("broken")
	if _, err := Timed(Request{Runs: 4}, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a run that fails: %v", err)
	}
}
