package oip

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"
)

// conn is a connection of a Client with the memory of its call.
type conn struct {
	net.Conn
	in     *bufio.Reader
	out    []byte        // the request
	header []byte        // the JSON of the request
	body   []byte        // of the response
	retry  bool          // the response has Retry-After
	after  time.Duration // that it says, 0 if not in a way that is understood
	broken bool          // not to be used again
}

func newConn(c net.Conn) *conn { return &conn{Conn: c, in: bufio.NewReader(c)} }

// errNoAnswer says that the connection ended before the response began.
var errNoAnswer = errors.New("the connection was closed before an answer came")

// maxAnswer bounds the size of a response.
const maxAnswer = 64 << 20

// abort ends the reading and writing of the call at once.
func (c *conn) abort() {
	//nolint:errcheck // a connection that takes no deadline is dead already
	c.SetDeadline(time.Unix(1, 0))
}

// discard closes the connection.
func (c *conn) discard() {
	//nolint:errcheck // nothing is expected of it any more
	c.Close()
}

// read reads a response into c.body. header is the length of its JSON, -1 if not given.
func (c *conn) read() (status, header int, err error) {
	line, err := c.line()
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	if len(line) < len("HTTP/1.1 200") || string(line[:7]) != "HTTP/1." {
		return 0, 0, fmt.Errorf("the server does not speak HTTP/1.1: it sent %.40q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, fmt.Errorf("the server sent the status line %.40q", line)
	}
	size, header := -1, -1
	chunked := false
	c.retry, c.after = false, 0
	for {
		line, err := c.line()
		if err != nil {
			return 0, 0, fmt.Errorf("read the answer's header: %w", err)
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			size, err = strconv.Atoi(string(value))
		case bytes.EqualFold(name, []byte("Inference-Header-Content-Length")):
			header, err = strconv.Atoi(string(value))
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Connection")):
			c.broken = c.broken || bytes.EqualFold(value, []byte("close"))
		case bytes.EqualFold(name, []byte("Retry-After")):
			c.retry = true
			c.retryAfter(value, time.Second)
		case bytes.EqualFold(name, []byte("Retry-After-Ms")):
			c.retryAfter(value, time.Millisecond)
		}
		if err != nil || size > maxAnswer {
			return 0, 0, fmt.Errorf("the answer's header has %.80q", line)
		}
	}
	return status, header, c.readBody(size, chunked)
}

// retryAfter takes over when to come back. The shorter of two is the more exact.
func (c *conn) retryAfter(value []byte, unit time.Duration) {
	n, err := strconv.Atoi(string(value))
	if err != nil || n < 0 || n > maxRetryAfter {
		return // a date, which servers of this protocol do not send
	}
	if d := time.Duration(n) * unit; c.after == 0 || d < c.after {
		c.after = d
	}
}

// maxRetryAfter bounds the units of a time to come back.
const maxRetryAfter = 1e6

func (c *conn) readBody(size int, chunked bool) (err error) {
	switch {
	case chunked:
		c.body, err = io.ReadAll(io.LimitReader(httputil.NewChunkedReader(c.in), maxAnswer))
		c.broken = true // trailers may follow
	case size < 0:
		c.body, err = io.ReadAll(io.LimitReader(c.in, maxAnswer))
		c.broken = true
	default:
		c.body = grow(c.body, size)
		_, err = io.ReadFull(c.in, c.body)
	}
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// line reads a line without its end.
func (c *conn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
