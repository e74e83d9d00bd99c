package sched_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"weft/sched"
)

// TestScenarios runs the scripts of testdata; -rewrite records what happens.
//
//	new policy=NAME max-batch=N [margin=D] [max-queue=N] [max-attempts=N] [buckets=N] [drift]
//	NAME ACCURACY OVERHEAD PER-IMAGE       a subnet a line
//
//	step                                   an event a line
//	AT up|down|leave|done WORKER           done names the batch that runs there
//	AT arrive ID DEADLINE [size=N] [floor=A] [pin=I] [priority=N] [tenant=NAME] [late=serve]
//	AT cancel ID
//	AT tick
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		sc := &scenario{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "new":
				return sc.start(t, d)
			case "step":
				return sc.steps(t, d)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

type scenario struct {
	group *sched.Group
	s     *sched.Scheduler
	batch map[int]uint64 // that each worker runs
}

func (sc *scenario) start(t *testing.T, d *datadriven.TestData) string {
	var policy, margin string
	opt := sched.Options{FixedProfile: !d.HasArg("drift")}
	maxBatch := 4
	d.ScanArgs(t, "policy", &policy)
	d.MaybeScanArgs(t, "max-batch", &maxBatch)
	d.MaybeScanArgs(t, "max-queue", &opt.MaxQueue)
	d.MaybeScanArgs(t, "max-attempts", &opt.MaxAttempts)
	d.MaybeScanArgs(t, "buckets", &opt.Buckets)
	if d.MaybeScanArgs(t, "margin", &margin) {
		opt.Margin = duration(t, margin)
	}
	var subnets []sched.Subnet
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		accuracy, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		subnets = append(subnets, linear(f[0], accuracy, duration(t, f[2]), duration(t, f[3]), maxBatch))
	}
	p, err := sched.NewProfile(subnets, maxBatch)
	if err != nil {
		return err.Error()
	}
	if sc.group == nil {
		sc.batch = map[int]uint64{}
		sc.s, err = sched.New(policy, p, opt)
	} else {
		sc.s, err = sc.group.Add(policy, p, opt)
	}
	if err != nil {
		return err.Error()
	}
	return strings.Join(p.Check(), "\n")
}

func (sc *scenario) steps(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		now := duration(t, f[0])
		fmt.Fprintln(&out, strings.TrimSpace(line))
		for _, a := range sc.s.Step(now, sc.event(t, now, f[1:])) {
			if a.Kind == sched.Dispatch {
				sc.batch[a.Worker] = a.Batch
			}
			fmt.Fprintln(&out, "  ", a)
		}
	}
	requests, images := sc.s.Waiting()
	fmt.Fprintf(&out, "waiting: %d requests, %d images; free workers: %d\n", requests, images, sc.s.Free())
	if sc.s.Drift() != 1 {
		fmt.Fprintf(&out, "drift: %.4f\n", sc.s.Drift())
	}
	return out.String()
}

func (sc *scenario) event(t *testing.T, now time.Duration, f []string) sched.Event {
	n := func(i int) int {
		v, err := strconv.Atoi(f[i])
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	switch f[0] {
	case "tick":
		return sched.Event{Kind: sched.Tick}
	case "up":
		return sched.Event{Kind: sched.WorkerUp, Worker: n(1)}
	case "down":
		return sched.Event{Kind: sched.WorkerDown, Worker: n(1)}
	case "leave":
		return sched.Event{Kind: sched.WorkerLeave, Worker: n(1)}
	case "done":
		return sched.Event{Kind: sched.Done, Worker: n(1), Batch: sc.batch[n(1)]}
	case "cancel":
		return sched.Event{Kind: sched.Cancel, ID: uint64(n(1))}
	case "arrive":
		r := sched.Request{ID: uint64(n(1)), Arrival: now, Deadline: duration(t, f[2]), Size: 1, Subnet: sched.AnySubnet}
		for _, arg := range f[3:] {
			scanRequest(t, arg, &r)
		}
		return sched.Event{Kind: sched.Arrive, Request: r}
	}
	t.Fatalf("unknown event %s", f[0])
	return sched.Event{}
}

func scanRequest(t *testing.T, arg string, r *sched.Request) {
	key, value, _ := strings.Cut(arg, "=")
	var err error
	switch key {
	case "size":
		r.Size, err = strconv.Atoi(value)
	case "floor":
		r.MinAccuracy, err = strconv.ParseFloat(value, 64)
	case "pin":
		r.Subnet, err = strconv.Atoi(value)
	case "priority":
		r.Priority, err = strconv.Atoi(value)
	case "tenant":
		r.Tenant = value
	case "late":
		r.Late = sched.Serve
	default:
		err = fmt.Errorf("unknown argument %s", arg)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func duration(t *testing.T, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// linear returns a subnet whose latency is overhead + batch · each.
func linear(name string, accuracy float64, overhead, each time.Duration, maxBatch int) sched.Subnet {
	s := sched.Subnet{Name: name, Accuracy: accuracy}
	for b := 1; b <= maxBatch; b++ {
		s.Latency = append(s.Latency, overhead+time.Duration(b)*each)
	}
	return s
}
