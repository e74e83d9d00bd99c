package remote

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"weft/remote/wire"
	"weft/serve"
)

// funcExecutor is an executor made of a function.
type funcExecutor func(s int, images []float32, n int, logits []float32) error

func (f funcExecutor) Run(s int, images []float32, n int, logits []float32) error {
	return f(s, images, n, logits)
}

const testToken = "secret"

// serveStation lends slots with these executors of model m on a port of this machine.
func serveStation(t testing.TB, m *Model) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	st := newStation(ctx, "w", testToken, len(m.Executors), nil, slog.New(slog.DiscardHandler))
	st.model = func(string, string) (*Model, error) { return m, nil }
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := st.server()
	go srv.Serve(ln)
	t.Cleanup(func() {
		srv.Stop()
		stop()
	})
	return ln.Addr().String()
}

func testOpen() *wire.Open {
	return &wire.Open{Version: Version, Worker: "w", Router: "r", LeaseMs: 500}
}

// connect opens a link to slot 0, with the model named.
func connect(t testing.TB, addr string, m *Model) *link {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, dialOptions(insecure.NewCredentials())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	l, err := newLink(metadata.AppendToOutgoingContext(t.Context(), tokenKey, testToken), conn, testOpen())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close(errGone) })
	if err := l.name(1, &wire.Model{Name: m.Name, Digest: m.Digest, Subnets: m.Subnets, Image: uint32(m.Image), Classes: uint32(m.Classes)}); err != nil {
		t.Fatal(err)
	}
	return l
}

func testModel(image, classes int, exec serve.Executor) *Model {
	return &Model{
		Name: "m", Digest: "d", Subnets: []string{"a", "b"}, Image: image, Classes: classes, MaxBatch: 16,
		Latency: func(int, int) time.Duration { return 0 }, Executors: []serve.Executor{exec},
	}
}

func BenchmarkRun(b *testing.B) {
	for _, c := range []struct {
		name   string
		image  int
		pixels bool
	}{{"28x28x1 bytes", 784, true}, {"32x32x3 bytes", 3072, true}, {"32x32x3 floats", 3072, false}, {"224x224x3 bytes", 224 * 224 * 3, true}, {"224x224x3 floats", 224 * 224 * 3, false}} {
		b.Run(c.name, func(b *testing.B) {
			m := testModel(c.image, 10, funcExecutor(func(int, []float32, int, []float32) error { return nil }))
			l := connect(b, serveStation(b, m), m)
			images, logits := make([]float32, 16*c.image), make([]float32, 160)
			for i := range images {
				images[i] = pixelValue[i%256]
			}
			if !c.pixels {
				images[len(images)-1] = 0.3001
			}
			var times []time.Duration
			for b.Loop() {
				start := time.Now()
				if failed, lost := l.run(1, 0, 16, images, logits, time.Second); failed != nil || lost != nil {
					b.Fatal(failed, lost)
				}
				times = append(times, time.Since(start))
			}
			reportQuantiles(b, times)
		})
	}
}

// A batch that no frame can carry would cost a worker each time it is tried.
func TestModelTooLargeToSend(t *testing.T) {
	m := &serve.Model{Name: "m", H: 2048, W: 2048, C: 3, Classes: testClasses, Profile: testProfile(t)}
	if _, err := new(attendant).executor(m, &Held{Name: "m", Subnets: testTimings()}); err == nil || !strings.Contains(err.Error(), "192 MiB") {
		t.Errorf("a model of 192 MiB a batch: %v", err)
	}
}
