package oip_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// endless is a body that says the same again and again, for longer than any may be.
type endless struct {
	head, again string
	at, read    int
}

// Read implements io.Reader.
func (e *endless) Read(p []byte) (n int, err error) {
	const most = 64 << 20
	if e.read >= most {
		return 0, io.EOF
	}
	for n < len(p) && e.head != "" {
		k := copy(p[n:], e.head)
		e.head, n = e.head[k:], n+k
	}
	for ; n < len(p); n++ {
		p[n] = e.again[e.at]
		e.at = (e.at + 1) % len(e.again)
	}
	e.read += n
	return n, nil
}

// A compressed body that holds nothing is bounded as one that holds something.
func TestCompressedNothing(t *testing.T) {
	for encoding, body := range map[string]*endless{
		"gzip":    {again: "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x01\x00\x00\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"},
		"deflate": {head: "\x78\x9c", again: "\x00\x00\x00\xff\xff"},
	} {
		r := httptest.NewRequest(http.MethodPost, inferPath, body)
		r.Header.Set("Content-Encoding", encoding)
		w := httptest.NewRecorder()
		newToy(t).ServeHTTP(w, r)
		if w.Code != http.StatusRequestEntityTooLarge || body.read > 1<<20 {
			t.Errorf("%s: %d after %d bytes of nothing: %s", encoding, w.Code, body.read, w.Body)
		}
	}
}
