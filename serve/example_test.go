package serve_test

import (
	"context"
	"fmt"
	"time"

	"weft/sched"
	"weft/serve"
)

// A server whose one worker is simulated: it takes the profiled time.
func Example() {
	profile, err := sched.NewProfile([]sched.Subnet{
		{Name: "small", Accuracy: 0.88, Latency: []time.Duration{1 * time.Millisecond, 2 * time.Millisecond}},
		{Name: "large", Accuracy: 0.93, Latency: []time.Duration{30 * time.Millisecond, 50 * time.Millisecond}},
	}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := serve.New([]serve.Model{{
		Name: "digits", H: 28, W: 28, C: 1, Classes: 10, Profile: profile,
		Executors: []serve.Executor{&serve.SleepExecutor{Profile: profile, Classes: 10}},
	}}, serve.Options{Policy: "maxacc"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	for _, timeout := range []time.Duration{time.Second, 25 * time.Millisecond} {
		resp, err := server.Router("digits").Infer(ctx, &serve.Request{N: 1, Pixels: make([]byte, 28*28), Timeout: timeout})
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(timeout, resp.Subnet, resp.Accuracy, resp.DeadlineMet)
	}
	fmt.Println(server.Shutdown(ctx))
	// Output:
	// 1s large 0.93 true
	// 25ms small 0.88 true
	// <nil>
}
