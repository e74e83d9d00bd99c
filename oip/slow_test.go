package oip_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft/serve"
)

// pipes is a listener of in-memory connections, whose deadlines follow the
// bubble's clock.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// A client that sends its request byte by byte does not hold its connection for ever.
func TestSlowClientsAreCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		answer  string
		after   time.Duration
	}{
		"header": {"POST " + inferPath + " HTTP/1.1\r\nHo", "", 10 * time.Second},
		"body":   {"POST " + inferPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "HTTP/1.1 408", 30 * time.Second},
		"idle":   {"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200", 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := newHandler(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
				ln := make(pipes)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- h.Serve(ctx, ln, h) }()
				client, server := net.Pipe()
				ln <- server
				start := time.Now()
				fmt.Fprint(client, c.request)
				answer, err := io.ReadAll(client)
				if took := time.Since(start); err != nil || took.Round(time.Second) != c.after || !strings.HasPrefix(string(answer), c.answer) {
					t.Errorf("cut off after %v with %q, %v; want %q after %v", took, answer, err, c.answer, c.after)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
