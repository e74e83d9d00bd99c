package sched_test

import (
	"fmt"
	"time"

	"weft/sched"
)

func Example() {
	const ms = time.Millisecond
	profile, err := sched.NewProfile([]sched.Subnet{
		{Name: "small", Accuracy: 0.88, Latency: []time.Duration{2 * ms, 3 * ms, 4 * ms}},
		{Name: "large", Accuracy: 0.93, Latency: []time.Duration{5 * ms, 9 * ms, 13 * ms}},
	}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := sched.New(sched.DefaultPolicy, profile, sched.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Step(0, sched.Event{Kind: sched.WorkerUp, Worker: 0})
	for id, slo := range []time.Duration{50 * ms, 20 * ms, 20 * ms} {
		r := sched.Request{ID: uint64(id), Deadline: slo, Size: 1, Subnet: sched.AnySubnet}
		for _, a := range s.Step(0, sched.Event{Kind: sched.Arrive, Request: r}) {
			fmt.Println(a)
		}
	}
	for _, a := range s.Step(5*ms, sched.Event{Kind: sched.Done, Worker: 0, Batch: 1}) {
		fmt.Println(a)
	}
	// Output:
	// dispatch worker=0 batch=1 subnet=1 images=1 ids=[0]
	// wait until 18.000001ms
	// dispatch worker=0 batch=2 subnet=1 images=2 ids=[1 2]
}
