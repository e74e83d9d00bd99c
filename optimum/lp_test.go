package optimum_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"weft/optimum"
	"weft/sched"
)

var objective = regexp.MustCompile(`^Optimal - objective value\s+(\S+)`)

// solve returns the optimum that CBC finds.
func solve(t *testing.T, cbc string, in optimum.Instance) float64 {
	t.Helper()
	var lp bytes.Buffer
	if err := optimum.WriteLP(&lp, in); err != nil {
		t.Fatal(err)
	}
	path, solution := filepath.Join(t.TempDir(), "in.lp"), filepath.Join(t.TempDir(), "solution")
	if err := os.WriteFile(path, lp.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), cbc, path, "ratioGap", "0", "solve", "solution", solution).CombinedOutput(); err != nil {
		t.Fatalf("cbc: %v\n%s", err, out)
	}
	found, err := os.ReadFile(solution)
	if err != nil {
		t.Fatal(err)
	}
	m := objective.FindSubmatch(found)
	if m == nil {
		t.Fatalf("cbc found no optimum: %s", found)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return math.Abs(v) // CBC minimises the negative
}

// TestExactAgainstCBC has an integer program solver, with time in slots and
// without any of the search's rules, find the same optima.
func TestExactAgainstCBC(t *testing.T) {
	cbc, err := exec.LookPath("cbc")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("cbc is not installed (Debian: coinor-cbc)")
	}
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 4))
		in := instance(t, r, 8, seed%2 == 0)
		s, err := optimum.Exact(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		if want := solve(t, cbc, in); math.Abs(s.Value-want) > 1e-6 {
			t.Fatalf("seed %d: %v, cbc finds %v on %+v", seed, s.Value, want, in)
		}
	}
}

func TestLPTooFine(t *testing.T) {
	p := profile(t, rand.New(rand.NewPCG(1, 1)), 3, 4)
	requests := sched.OpenLoop([]time.Duration{0, 1}, 100*ms)
	if err := optimum.WriteLP(new(bytes.Buffer), optimum.Instance{Profile: p, Workers: 1, Requests: requests}); err == nil {
		t.Error("no error for slots of a nanosecond")
	}
}
