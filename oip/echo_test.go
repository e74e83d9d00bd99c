package oip_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"weft/guard"
	"weft/oip"
	pb "weft/oip/inference"
	"weft/serve"
)

// BenchmarkBesideEcho compares the whole server, whose model computes nothing,
// with a bare server of the same library that reads the same request and
// writes the same answer. They take turns, each for a moment, so that whatever
// else the machine does falls on both. ratio is that of the throughputs with 16
// clients, added-µs the difference of the medians with one: medians over the turns.
func BenchmarkBesideEcho(b *testing.B) {
	for _, transport := range []struct {
		name       string
		weft, echo func(b *testing.B) call
	}{
		{"HTTP", weftHTTP, echoHTTP},
		{"HTTP with keys", weftHTTPKeys, echoHTTP},
		{"gRPC", weftGRPC, echoGRPC},
		{"gRPC with keys", weftGRPCKeys, echoGRPC},
	} {
		b.Run(transport.name, func(b *testing.B) {
			weft, echo := transport.weft(b), transport.echo(b)
			var ratios, added, rates, echoRates, medians, echoMedians []float64
			for b.Loop() {
				fast, _ := drive(b, weft, 16, 200*time.Millisecond)
				bare, _ := drive(b, echo, 16, 200*time.Millisecond)
				_, median := drive(b, weft, 1, 100*time.Millisecond)
				_, bareMedian := drive(b, echo, 1, 100*time.Millisecond)
				ratios, rates, echoRates = append(ratios, fast/bare), append(rates, fast), append(echoRates, bare)
				added, medians, echoMedians = append(added, median-bareMedian), append(medians, median), append(echoMedians, bareMedian)
			}
			b.ReportMetric(middle(ratios), "ratio")
			b.ReportMetric(middle(added), "added-µs")
			b.ReportMetric(middle(rates), "req/s")
			b.ReportMetric(middle(echoRates), "echo-req/s")
			b.ReportMetric(middle(medians), "p50-µs")
			b.ReportMetric(middle(echoMedians), "echo-p50-µs")
		})
	}
}

func middle(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }

// call returns a function that makes one request; each client has its own.
type call func() func() error

// drive makes calls from so many clients for a while, and returns calls a
// second and the median time of a call in µs.
func drive(b *testing.B, c call, clients int, during time.Duration) (rate, median float64) {
	var calls atomic.Int64
	var mu sync.Mutex
	var took []float64
	var wg sync.WaitGroup
	start := time.Now()
	for range clients {
		wg.Go(func() {
			one := c()
			var mine []float64
			for before := start; time.Since(start) < during; {
				if err := one(); err != nil {
					b.Error(err)
					return
				}
				now := time.Now()
				mine = append(mine, float64(now.Sub(before).Nanoseconds())/1e3)
				before = now
			}
			calls.Add(int64(len(mine)))
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	wg.Wait()
	return float64(calls.Load()) / time.Since(start).Seconds(), middle(took)
}

func weftHTTP(b *testing.B) call {
	base, _, _ := listen(b, serve.Options{}, digits(b, noop{}))
	return httpCalls(b, base, "")
}

// keyed is a handler whose clients have the key "key", with limits that they do not come to.
func keyed(b *testing.B) *oip.Handler {
	s := newServer(b, serve.Options{}, digits(b, noop{}))
	return oip.NewHandler(s, oip.Options{Guard: withKeys(b, guard.Key{Name: "key", Rate: 1e6, Burst: 1e6, Concurrent: 1e6})})
}

func weftHTTPKeys(b *testing.B) call {
	h := keyed(b)
	return httpCalls(b, "http://"+start(b, h, h), "key")
}

func weftGRPCKeys(b *testing.B) call {
	return grpcCalls(authorised(context.Background(), "key"), b, serveGRPC(b, keyed(b)))
}

func httpCalls(b *testing.B, base, key string) call {
	c, err := oip.Dial(base, oip.ClientOptions{Key: key})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	m, err := c.Model(b.Context(), "toy")
	if err != nil {
		b.Fatal(err)
	}
	return func() func() error {
		req := &serve.Request{N: 1, Pixels: make([]byte, 784), Timeout: 10 * time.Second}
		var resp serve.Response
		return func() error { return m.InferInto(context.Background(), req, &resp) }
	}
}

// echoHTTP reads each request to its end and writes an answer that is always the same.
func echoHTTP(b *testing.B) call {
	h, _ := newHandler(b, serve.Options{}, digits(b, noop{}))
	body, length := joined(`{"inputs":[{"name":"images","shape":[1,28,28,1],"datatype":"UINT8","parameters":{"binary_data_size":784}}],"parameters":{"binary_data_output":true,"timeout":10000000}}`, make([]byte, 784)...)
	answer := do(h, "POST", inferPath, body, length)
	buffers := sync.Pool{New: func() any { return new([4096]byte) }}
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("POST "+inferPath, func(w http.ResponseWriter, r *http.Request) {
		buf := buffers.Get().(*[4096]byte)
		defer buffers.Put(buf)
		for n, err := 0, error(nil); err == nil; {
			n, err = r.Body.Read(buf[n:])
		}
		header := w.Header()
		header["Content-Type"] = answer.Header()["Content-Type"]
		header["Inference-Header-Content-Length"] = answer.Header()["Inference-Header-Content-Length"]
		header["Content-Length"] = []string{strconv.Itoa(answer.Body.Len())}
		w.Write(answer.Body.Bytes())
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	go srv.Serve(ln)
	b.Cleanup(func() { srv.Close() })
	return httpCalls(b, "http://"+ln.Addr().String(), "")
}

// imageMessage asks for one image's label over gRPC.
func imageMessage() *pb.ModelInferRequest {
	return &pb.ModelInferRequest{
		ModelName: "toy",
		Inputs: []*pb.ModelInferRequest_InferInputTensor{{
			Name: "images", Datatype: "UINT8", Shape: []int64{1, 28, 28, 1},
		}},
		Parameters:       map[string]*pb.InferParameter{"timeout": {ParameterChoice: &pb.InferParameter_Int64Param{Int64Param: 10_000_000}}},
		RawInputContents: [][]byte{make([]byte, 784)},
	}
}

func weftGRPC(b *testing.B) call {
	address, _ := listenGRPC(b, digits(b, noop{}))
	return grpcCalls(context.Background(), b, address)
}

func grpcCalls(ctx context.Context, b *testing.B, address string) call {
	client := dialGRPC(b, address)
	return func() func() error {
		req := imageMessage()
		return func() error {
			resp, err := client.ModelInfer(ctx, req)
			if err == nil && len(resp.RawOutputContents) != 2 {
				err = fmt.Errorf("the answer is %v", resp)
			}
			return err
		}
	}
}

// echoService gives the same answer to everything.
type echoService struct {
	pb.UnimplementedGRPCInferenceServiceServer
	answer *pb.ModelInferResponse
}

func (s *echoService) ModelInfer(context.Context, *pb.ModelInferRequest) (*pb.ModelInferResponse, error) {
	return s.answer, nil
}

func echoGRPC(b *testing.B) call {
	address, _ := listenGRPC(b, digits(b, noop{}))
	answer, err := dialGRPC(b, address).ModelInfer(b.Context(), imageMessage())
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := grpc.NewServer()
	pb.RegisterGRPCInferenceServiceServer(srv, &echoService{answer: answer})
	go srv.Serve(ln)
	b.Cleanup(srv.Stop)
	return grpcCalls(context.Background(), b, ln.Addr().String())
}

// dialGRPC returns a client of the protocol's service.
func dialGRPC(t testing.TB, address string) pb.GRPCInferenceServiceClient {
	return pb.NewGRPCInferenceServiceClient(connectGRPC(t, address))
}

func connectGRPC(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// listenGRPC serves the models over gRPC on a loopback port until the test ends.
func listenGRPC(t testing.TB, models ...serve.Model) (address string, s *serve.Server) {
	t.Helper()
	h, s := newHandler(t, serve.Options{}, models...)
	return serveGRPC(t, h), s
}

func serveGRPC(t testing.TB, h *oip.Handler) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.ServeGRPC(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}
