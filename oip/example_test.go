package oip_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"weft/oip"
	"weft/sched"
	"weft/serve"
)

// A server and a client of it in one process.
func Example() {
	profile, err := sched.NewProfile([]sched.Subnet{{Name: "only", Accuracy: 0.9, Latency: []time.Duration{time.Millisecond}}}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := serve.New([]serve.Model{{
		Name: "digits", H: 28, W: 28, C: 1, Classes: 10, Profile: profile,
		Executors: []serve.Executor{&serve.SleepExecutor{Profile: profile, Classes: 10}},
	}}, serve.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := oip.NewHandler(server, oip.Options{Version: "1.0"})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- handler.Serve(ctx, ln, handler) }()

	client, err := oip.Dial("http://"+ln.Addr().String(), oip.ClientOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	model, err := client.Model(ctx, "digits")
	if err != nil {
		fmt.Println(err)
		return
	}
	var resp serve.Response // reused from call to call
	req := &serve.Request{N: 1, Pixels: make([]byte, model.H*model.W*model.C), Timeout: time.Second}
	err = model.InferInto(ctx, req, &resp)
	fmt.Println(len(resp.Logits), resp.Subnet, resp.Accuracy, resp.DeadlineMet, err)

	stop()
	fmt.Println(<-ended)
	// Output:
	// 10 only 0.9 true <nil>
	// <nil>
}
