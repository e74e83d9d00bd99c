package bus_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy stands between a client and its server and can stop what goes through.
type proxy struct {
	url      string
	listener net.Listener
	target   string

	mu    sync.Mutex
	muted bool // what the server says is lost
	down  bool // new connections are refused
	conns []net.Conn
}

func newProxy(t *testing.T, url string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, url: "nats://" + l.Addr().String(), target: strings.TrimPrefix(url, "nats://")}
	go p.accept()
	t.Cleanup(func() { l.Close(); p.cut() })
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		p.mu.Lock()
		if err != nil || p.down {
			client.Close()
			p.mu.Unlock()
			continue
		}
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		go io.Copy(server, client)
		go p.answer(client, server)
	}
}

// answer passes on what the server says, unless muted.
func (p *proxy) answer(client, server net.Conn) {
	defer client.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		p.mu.Lock()
		muted := p.muted
		p.mu.Unlock()
		if !muted {
			client.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) set(muted, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.muted, p.down = muted, down
}

// cut ends the connections there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}
