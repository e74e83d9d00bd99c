package oip

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
)

var (
	gzipReaders sync.Pool // of *gzip.Reader
	zlibReaders sync.Pool // of io.ReadCloser that are zlib.Resetter
)

// readBody appends the request's body, decompressed, to dst. It is at most
// limit bytes long, compressed as well as decompressed.
func readBody(dst []byte, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return dst, tooLarge(limit)
	}
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		return readAll(dst, r.Body, r.ContentLength, limit)
	case "gzip":
		z, _ := gzipReaders.Get().(*gzip.Reader)
		if z == nil {
			z = new(gzip.Reader)
		}
		defer gzipReaders.Put(z)
		if err := z.Reset(compressed(r, limit)); err != nil {
			return dst, badBody(err)
		}
		return readAll(dst, z, -1, limit)
	case "deflate":
		z, err := zlibReader(compressed(r, limit))
		if err != nil {
			return dst, badBody(err)
		}
		defer zlibReaders.Put(z)
		return readAll(dst, z, -1, limit)
	default:
		return dst, &statusError{http: http.StatusUnsupportedMediaType, grpc: codes.Unimplemented, text: "the Content-Encoding " + strconv.QuoteToASCII(encoding) + " is not known: send gzip, deflate or identity"}
	}
}

// compressed bounds what is read of a body, which may hold nothing at any length.
func compressed(r *http.Request, limit int64) io.Reader {
	return http.MaxBytesReader(nil, r.Body, limit)
}

func zlibReader(r io.Reader) (io.Reader, error) {
	if z, ok := zlibReaders.Get().(io.ReadCloser); ok {
		return z, z.(zlib.Resetter).Reset(r, nil)
	}
	return zlib.NewReader(r)
}

// readAll appends what r holds, of which size is known or -1, to dst. Memory
// grows with what arrives, not with what is announced.
func readAll(dst []byte, r io.Reader, size, limit int64) ([]byte, error) {
	const step = 64 << 10
	start := len(dst)
	for {
		if len(dst) == cap(dst) {
			room := int64(max(step, len(dst)))
			if size >= 0 {
				// One byte more than announced, to read the end without growing.
				room = min(room, max(size+1-int64(len(dst)-start), 1))
			}
			dst = append(make([]byte, 0, int64(len(dst))+room), dst...)
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if int64(len(dst)-start) > limit {
			return dst, tooLarge(limit)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, badBody(err)
		}
	}
}

func tooLarge(limit int64) error {
	return &statusError{http: http.StatusRequestEntityTooLarge, grpc: codes.ResourceExhausted, text: "the body is larger than " + strconv.FormatInt(limit, 10) + " bytes: send fewer images at a time"}
}

func badBody(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(e.Limit)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &statusError{http: http.StatusBadRequest, grpc: codes.InvalidArgument, text: "the body ends early: send all of it"}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &statusError{http: http.StatusRequestTimeout, grpc: codes.DeadlineExceeded, text: "the body came too slowly: send it within " + readTimeout.String()}
	}
	return &statusError{http: http.StatusBadRequest, grpc: codes.InvalidArgument, text: "the body can not be read: " + err.Error()}
}

// minCompress is the size below which compressing a response costs more than it saves.
const minCompress = 1024

// compress returns the body in the encoding that the request accepts, gzip
// before deflate, and its name; "" if it stays as it is.
func compress(r *http.Request, body []byte) ([]byte, string) {
	accept := r.Header.Get("Accept-Encoding")
	if len(body) < minCompress || accept == "" {
		return body, ""
	}
	var buf bytes.Buffer
	var w io.WriteCloser
	name := ""
	switch {
	case accepts(accept, "gzip"):
		w, name = gzip.NewWriter(&buf), "gzip"
	case accepts(accept, "deflate"):
		w, name = zlib.NewWriter(&buf), "deflate"
	default:
		return body, ""
	}
	if _, err := w.Write(body); err != nil {
		return body, ""
	}
	if err := w.Close(); err != nil {
		return body, ""
	}
	return buf.Bytes(), name
}

// accepts reports whether an Accept-Encoding lists the coding with a weight above 0.
func accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if !strings.EqualFold(strings.TrimSpace(name), coding) {
			continue
		}
		q, ok := strings.CutPrefix(strings.TrimSpace(weight), "q=")
		if v, err := strconv.ParseFloat(q, 64); ok && err == nil && v == 0 {
			return false
		}
		return true
	}
	return false
}
