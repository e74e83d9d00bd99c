package optimum_test

import (
	"fmt"
	"time"

	"weft/optimum"
	"weft/sched"
)

func ExampleExact() {
	p, err := sched.NewProfile([]sched.Subnet{
		{Name: "small", Accuracy: 0.88, Latency: []time.Duration{2 * ms, 3 * ms, 4 * ms}},
		{Name: "large", Accuracy: 0.93, Latency: []time.Duration{5 * ms, 9 * ms, 13 * ms}},
	}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	in := optimum.Instance{Profile: p, Workers: 1, Requests: sched.OpenLoop([]time.Duration{0, 1 * ms, 2 * ms}, 9*ms)}
	s, err := optimum.Exact(in, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range s.Batches {
		fmt.Printf("%v to %v: %v in %s\n", b.Start, b.End, b.Requests, p.Subnets[b.Subnet].Name)
	}
	bound, err := optimum.Bound(in)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.2f; Bound would have said %.2f\n", s.Value, bound)
	// Output:
	// 0s to 5ms: [0] in large
	// 5ms to 8ms: [1 2] in small
	// 2.69; Bound would have said 2.74
}
