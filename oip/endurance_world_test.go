package oip_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"weft/oip"
	pb "weft/oip/inference"
	"weft/serve"
	"weft/workload"
)

// world is a server under the load of a day, and those who make it.
type world struct {
	t        *testing.T
	server   *serve.Server
	handler  *oip.Handler
	recorder *serve.FlightRecorder
	length   time.Duration // of an hour

	http, grpc string // addresses
	models     []*oip.ClientModel
	plain      *http.Client
	inference  pb.GRPCInferenceServiceClient

	sent, unsent, joined                      int
	answered, refused, failed, gone, nonsense atomic.Int64
	failure                                   atomic.Value // error
}

// connect makes the clients, and disconnect ends them and their connections.
func (w *world) connect() (disconnect func()) {
	client, err := oip.Dial("http://"+w.http, oip.ClientOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.models = w.models[:0]
	for _, name := range w.server.Models() {
		m, err := client.Model(context.Background(), name)
		if err != nil {
			w.t.Fatal(err)
		}
		w.models = append(w.models, m)
	}
	w.plain = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	channel, err := grpc.NewClient(w.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.inference = pb.NewGRPCInferenceServiceClient(channel)
	return func() {
		client.Close()
		w.plain.CloseIdleConnections()
		_ = channel.Close()
	}
}

// hour sends the requests of an hour, while operators and workers do what they do.
func (w *world) hour(arrivals []time.Duration) {
	defer w.connect()()
	ctx, stop := context.WithCancel(context.Background())
	var others sync.WaitGroup
	for _, do := range []struct {
		every time.Duration
		what  func(ctx context.Context) error
	}{
		{w.length / 2, w.reload}, {w.length / 3, w.worker}, {w.length / 12, w.look}, {w.length, w.record}, {w.length / 6, w.watch},
	} {
		others.Go(func() { w.repeat(ctx, do.every, do.what) })
	}
	if len(arrivals) > 0 {
		outcomes, err := workload.Run(ctx, workload.Config{Arrivals: arrivals, SLO: 20 * time.Second, Sender: w, MaxInFlight: 256})
		if err != nil {
			w.t.Error(err)
		}
		for i := range outcomes {
			w.count(&outcomes[i])
		}
	}
	stop()
	others.Wait()
}

func (w *world) count(o *workload.Outcome) {
	w.sent++
	switch o.Status {
	case workload.Answered:
		w.answered.Add(1)
	case workload.Dropped:
		w.refused.Add(1)
	case workload.NotSent: // the generator could not keep up
		w.unsent++
	default:
		if w.failed.Add(1) == 1 {
			w.failure.Store(o.Err)
		}
	}
}

// repeat does something again and again until ctx ends.
func (w *world) repeat(ctx context.Context, every time.Duration, do func(ctx context.Context) error) {
	for tick := time.NewTicker(max(every, time.Millisecond)); ; {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			w.t.Error(err)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// Send implements workload.Sender: by its number, a request goes over one of the
// transports, is withdrawn, or is nonsense.
func (w *world) Send(ctx context.Context, i int, left time.Duration) (workload.Reply, error) {
	model := i % len(w.models)
	timeout := max(left, time.Microsecond)
	if i%7 == 0 {
		timeout = min(timeout, 5*time.Millisecond) // some are in a hurry
	}
	switch r := i * 7919 % 1000; { // spread, and the same each time
	case r < 10:
		w.gone.Add(1)
		return workload.Reply{Status: workload.Dropped}, w.leave(ctx, i)
	case r < 30:
		w.gone.Add(1)
		ctx, stop := context.WithTimeout(ctx, time.Duration(i%200)*time.Microsecond)
		defer stop()
		_, _ = w.send(ctx, i, model, timeout)
		return workload.Reply{Status: workload.Dropped}, nil
	case r < 60:
		w.nonsense.Add(1)
		return workload.Reply{Status: workload.Dropped}, w.babble(ctx, i)
	}
	return w.send(ctx, i, model, timeout)
}

// send asks about an image over HTTP, in binary or in JSON, or over gRPC.
func (w *world) send(ctx context.Context, i, model int, timeout time.Duration) (workload.Reply, error) {
	name := w.models[model].Name
	var err error
	switch i % 10 {
	case 0, 1, 2, 3, 4:
		req := serve.Request{N: 1 + i%3, Pixels: make([]byte, 784*(1+i%3)), Timeout: timeout}
		err = w.models[model].InferInto(ctx, &req, new(serve.Response))
	case 5:
		return w.post(ctx, "/v2/models/"+name+"/infer", digitJSON, http.StatusOK, http.StatusGatewayTimeout, http.StatusServiceUnavailable)
	default:
		ctx, stop := context.WithTimeout(ctx, timeout)
		defer stop()
		_, err = w.inference.ModelInfer(ctx, &pb.ModelInferRequest{
			ModelName:        name,
			Inputs:           []*pb.ModelInferRequest_InferInputTensor{{Name: "images", Datatype: "UINT8", Shape: []int64{1, 28, 28, 1}}},
			RawInputContents: [][]byte{make([]byte, 784)},
		})
		switch status.Code(err) {
		case codes.DeadlineExceeded, codes.Unavailable, codes.Canceled:
			return workload.Reply{Status: workload.Dropped}, nil
		}
		return workload.Reply{}, err
	}
	switch serve.CodeOf(err) {
	case serve.Late, serve.Full, serve.Cancelled:
		return workload.Reply{Status: workload.Dropped}, nil
	}
	return workload.Reply{}, err
}

var digitJSON = []byte(`{"inputs":[{"name":"images","shape":[1,28,28,1],"datatype":"UINT8","data":[` + string(bytes.Repeat([]byte("0,"), 783)) + `0]}]}`)

// post sends a body. The first of the statuses is an answer, the others are refusals.
func (w *world) post(ctx context.Context, path string, body []byte, answers ...int) (workload.Reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.http+path, bytes.NewReader(body))
	if err != nil {
		return workload.Reply{}, err
	}
	resp, err := w.plain.Do(req)
	if err != nil {
		return workload.Reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return workload.Reply{}, err
	}
	for k, want := range answers {
		if resp.StatusCode == want && k > 0 {
			return workload.Reply{Status: workload.Dropped}, nil
		} else if resp.StatusCode == want {
			return workload.Reply{}, nil
		}
	}
	return workload.Reply{}, fmt.Errorf("POST %s: %d %s", path, resp.StatusCode, text)
}

// leave connects, sends a part of a request, and goes away.
func (w *world) leave(ctx context.Context, i int) error {
	address := []string{w.http, w.grpc}[i%2]
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	whole := fmt.Appendf(nil, "POST /v2/models/one/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(digitJSON), digitJSON)
	_, _ = conn.Write(whole[:rand.IntN(len(whole)+1)])
	return nil
}

// babble sends what is no request of a model that there is.
func (w *world) babble(ctx context.Context, i int) error {
	switch i % 4 {
	case 0:
		_, err := w.post(ctx, "/v2/models/one/infer", []byte(`{"inputs":[{"name":`), http.StatusBadRequest)
		return err
	case 1:
		_, err := w.post(ctx, fmt.Sprintf("/v2/models/none%d/infer", i), digitJSON, http.StatusNotFound)
		return err
	case 2:
		_, err := w.inference.ModelInfer(ctx, &pb.ModelInferRequest{ModelName: fmt.Sprint("none", i)})
		if status.Code(err) != codes.NotFound {
			return fmt.Errorf("an unknown model over gRPC: %w", err)
		}
		return nil
	}
	err := w.models[0].InferInto(ctx, &serve.Request{N: 1, Pixels: make([]byte, 784), Subnet: fmt.Sprint("subnet", i)}, new(serve.Response))
	if serve.CodeOf(err) != serve.Invalid {
		return fmt.Errorf("an unknown subnet: %w", err)
	}
	return nil
}

// reload loads a model again over the protocol.
func (w *world) reload(ctx context.Context) error {
	_, err := w.post(ctx, "/v2/repository/models/two/load", nil, http.StatusOK)
	return err
}

// worker has a worker join and, after a while, leave or be lost.
func (w *world) worker(ctx context.Context) error {
	execs := make(map[*serve.Router]serve.Executor)
	for _, name := range w.server.Models() {
		execs[w.server.Router(name)] = nothing{10}
	}
	a, err := w.server.Attach(serve.WorkerSpec{Name: fmt.Sprint("guest ", w.joined), Executors: execs})
	if err != nil {
		return err
	}
	w.joined++
	select {
	case <-ctx.Done():
	case <-time.After(w.length / 6):
	}
	if w.joined%2 == 0 {
		a.Lost()
		<-a.Done()
		return nil
	}
	return a.Leave(context.Background())
}

// look reads what dashboards read.
func (w *world) look(ctx context.Context) error {
	for _, path := range []string{"/metrics", "/v2/health/ready", "/v2/models/one/timeline", "/v2/models/stats", "/nothing"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.http+path, nil)
		if err != nil {
			return err
		}
		resp, err := w.plain.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
	}
	return nil
}

// record writes a flight.
func (w *world) record(context.Context) error {
	_, err := w.recorder.Dump()
	return err
}

// watch opens a connection of its own, watches the server's health for a moment, and leaves.
func (w *world) watch(ctx context.Context) error {
	channel, err := grpc.NewClient(w.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer channel.Close()
	stream, err := health.NewHealthClient(channel).Watch(ctx, &health.HealthCheckRequest{})
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}
