package oip

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"weft/serve"
)

// Client calls a server of the Open Inference Protocol. It keeps as many
// connections as there are calls at a time, and writes and reads HTTP/1.1
// itself: no goroutine stands between a call and its connection, so that a load
// generator leaves the processor to the server. It is safe for concurrent use.
type Client struct {
	opt     ClientOptions
	base    string // URL without the path
	address string // host:port
	host    string
	prefix  string // of paths
	dialer  dialer
	http    http.Client // for what is not inference

	mu     sync.Mutex
	idle   []*conn // the latest used is the last
	closed bool
}

// ClientOptions of a Client. The zero value is useful.
type ClientOptions struct {
	// Key is the API key to present ("": none).
	Key string
	// TLS is for servers at https URLs (nil: the system's authorities are trusted,
	// and no certificate is shown).
	TLS *tls.Config
	// Retry sends a request again that the server has refused for the load there
	// is, when the server says, if the request's timeout leaves the time.
	Retry bool
}

// dialer is a net.Dialer or a tls.Dialer.
type dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial returns a client for the server at the base URL, http://HOST[:PORT] or
// https://HOST[:PORT]. It connects when it is used.
func Dial(base string, opt ClientOptions) (*Client, error) {
	u, err := url.Parse(base)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "") {
		err = errors.New("it is not of the form http://HOST:PORT or https://HOST:PORT")
	}
	if err == nil && strings.ContainsFunc(opt.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		err = errors.New("the API key has a space or another character that keys do not have")
	}
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", base, err)
	}
	c := &Client{opt: opt, base: u.Scheme + "://" + u.Host, host: u.Host, prefix: strings.TrimSuffix(u.Path, "/")}
	plain := &net.Dialer{Timeout: 10 * time.Second}
	port := u.Port()
	switch u.Scheme {
	case "https":
		config := opt.TLS.Clone()
		if config == nil {
			config = new(tls.Config)
		}
		config.NextProtos = []string{"http/1.1"}
		c.dialer = &tls.Dialer{NetDialer: plain, Config: config}
		port = cmp.Or(port, "443")
	default:
		c.dialer = plain
		port = cmp.Or(port, "80")
	}
	c.address = net.JoinHostPort(u.Hostname(), port)
	c.http.Transport = &http.Transport{TLSClientConfig: opt.TLS, DialContext: plain.DialContext}
	return c, nil
}

// Close closes the idle connections and those in use as their calls end.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, cn := range c.idle {
		cn.discard()
	}
	c.idle = nil
	c.http.CloseIdleConnections()
}

// Ready reports an error unless the server is ready.
func (c *Client) Ready(ctx context.Context) error { return c.get(ctx, "/v2/health/ready", nil) }

// Models returns the names of the server's models.
func (c *Client) Models(ctx context.Context) ([]string, error) {
	var list struct{ Models []string }
	err := c.get(ctx, "/v2/models", &list)
	return list.Models, err
}

// Model returns the model of that name, once its metadata is read.
func (c *Client) Model(ctx context.Context, name string) (*ClientModel, error) {
	m := &ClientModel{client: c, names: make(map[string]string)}
	path := "/v2/models/" + url.PathEscape(name)
	if err := c.get(ctx, path, &m.Metadata); err != nil {
		return nil, err
	}
	var list subnetList
	if err := c.get(ctx, path+"/subnets", &list); err != nil && serve.CodeOf(err) != serve.Invalid {
		return nil, err // other servers have no subnets
	}
	m.Subnets = list.Subnets
	for _, s := range m.Subnets {
		m.names[s.Name] = s.Name
	}
	if err := m.prepare(path); err != nil {
		return nil, fmt.Errorf("model %s: %w", name, err)
	}
	return m, nil
}

// get reads a JSON document into v, or drops it if v is nil.
func (c *Client) get(ctx context.Context, path string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+c.prefix+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("request %s: %w", path, err)
	}
	if c.opt.Key != "" {
		r.Header.Set("Authorization", "Bearer "+c.opt.Key)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("request %s: %w", path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("read the answer to %s: %w", path, err)
	case resp.StatusCode != http.StatusOK:
		return refusal(resp.StatusCode, resp.Header.Get("Retry-After") != "", body)
	case v == nil:
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read the answer to %s: %w", path, err)
	}
	return nil
}

// refusal turns a refusal back into the server's error.
func refusal(status int, retry bool, body []byte) error {
	var text struct{ Error string }
	if json.Unmarshal(body, &text) != nil || text.Error == "" {
		text.Error = fmt.Sprintf("the server answers %d %s", status, http.StatusText(status))
	}
	code := serve.Failed
	switch {
	case status == http.StatusGatewayTimeout:
		code = serve.Late
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && retry:
		code = serve.Full
	case status == http.StatusServiceUnavailable:
		code = serve.Draining
	case status >= 400 && status < 500:
		code = serve.Invalid
	}
	return serve.Errorf(code, "%s", text.Error)
}

// take returns an idle connection or a new one.
func (c *Client) take(ctx context.Context, fresh bool) (cn *conn, reused bool, err error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 && !fresh {
		cn = c.idle[n-1]
		c.idle = c.idle[:n-1]
	}
	c.mu.Unlock()
	if cn != nil {
		return cn, true, nil
	}
	nc, err := c.dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, false, fmt.Errorf("connect to the server: %w", err)
	}
	return newConn(nc), false, nil
}

// give takes a connection back whose answer is read.
func (c *Client) give(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || cn.broken {
		cn.discard()
		return
	}
	c.idle = append(c.idle, cn)
}
