package oip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"weft/sched"
	"weft/serve"
)

// ClientModel is a model on a server. It is safe for concurrent use.
type ClientModel struct {
	Metadata
	H, W, C, Classes int
	Subnets          []Subnet // empty if the server does not list them

	client *Client
	names  map[string]string // subnet names, to turn bytes into a string without allocating
	// The parts of a request that never change, around n, the sizes and the parameters.
	start, shape, sides string
}

func (m *ClientModel) prepare(path string) error {
	if len(m.Inputs) != 1 || len(m.Inputs[0].Shape) != imageRank || len(m.Outputs) == 0 || len(m.Outputs[0].Shape) != 2 {
		return errors.New("it does not take images and give logits: choose an image model")
	}
	s := m.Inputs[0].Shape
	m.H, m.W, m.C, m.Classes = int(s[1]), int(s[2]), int(s[3]), int(m.Outputs[0].Shape[1])
	key := ""
	if m.client.opt.Key != "" {
		key = "\r\nAuthorization: Bearer " + m.client.opt.Key
	}
	m.start = "POST " + m.client.prefix + path + "/infer HTTP/1.1\r\nHost: " + m.client.host + key +
		"\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: "
	m.shape = `{"inputs":[{"name":"` + inputName + `","shape":[`
	m.sides = fmt.Sprintf(",%d,%d,%d]", m.H, m.W, m.C)
	return nil
}

// answerTime is how much longer than its timeout a call may take.
const answerTime = 10 * time.Second

// InferInto sends the request and reads the answer into resp, whose slices it
// reuses; like serve.Router.InferInto, for a model elsewhere. Images travel in
// binary. An answer of a refusal has the server's serve.Code.
func (m *ClientModel) InferInto(ctx context.Context, req *serve.Request, resp *serve.Response) error {
	if !m.client.opt.Retry {
		_, err := m.try(ctx, req, resp)
		return err
	}
	again := *req
	if again.Start.IsZero() {
		again.Start = time.Now()
	}
	for {
		retry, err := m.try(ctx, &again, resp)
		if serve.CodeOf(err) != serve.Full || retry == 0 || req.Timeout > 0 && time.Since(again.Start)+retry >= req.Timeout {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
}

// try sends the request once, over another connection if an idle one has been
// closed by the server. After a refusal, retry is when to come back, if the
// server says.
func (m *ClientModel) try(ctx context.Context, req *serve.Request, resp *serve.Response) (retry time.Duration, err error) {
	for fresh := false; ; fresh = true {
		cn, reused, err := m.client.take(ctx, fresh)
		if err != nil {
			return 0, err
		}
		answered, err := m.exchange(ctx, cn, req, resp)
		if err != nil && !answered {
			cn.broken = true
		}
		if err != nil && answered {
			retry = cn.after
		}
		m.client.give(cn)
		switch {
		case err == nil || answered:
			return retry, err
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case reused && errors.Is(err, errNoAnswer) && !errors.Is(err, os.ErrDeadlineExceeded):
			continue
		default:
			return 0, err
		}
	}
}

// exchange sends the request over cn and reads the answer. answered tells a
// refusal from a broken connection.
func (m *ClientModel) exchange(ctx context.Context, cn *conn, req *serve.Request, resp *serve.Response) (answered bool, err error) {
	timeout := req.Timeout
	if timeout == 0 {
		timeout = serve.MaxTimeout
	}
	if err := cn.SetDeadline(time.Now().Add(timeout + answerTime)); err != nil {
		return false, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, cn.abort)
		defer func() {
			if !stop() {
				cn.broken = true
			}
		}()
	}
	m.append(cn, req)
	if _, err := cn.Write(cn.out); err != nil {
		return false, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	status, header, err := cn.read()
	if err != nil {
		return false, err
	}
	if status != http.StatusOK {
		return true, refusal(status, cn.retry, cn.body)
	}
	if err := m.answer(cn.body, header, req.N, resp); err != nil {
		return true, err
	}
	return true, nil
}

// append writes the request into cn.out.
func (m *ClientModel) append(cn *conn, req *serve.Request) {
	h := cn.header[:0]
	h = append(h, m.shape...)
	h = strconv.AppendInt(h, int64(req.N), 10)
	h = append(h, m.sides...)
	size := len(req.Pixels)
	if req.Pixels == nil {
		size = 4 * len(req.Images)
		h = append(h, `,"datatype":"FP32","parameters":{"binary_data_size":`...)
	} else {
		h = append(h, `,"datatype":"UINT8","parameters":{"binary_data_size":`...)
	}
	h = strconv.AppendInt(h, int64(size), 10)
	h = append(h, `}}],"parameters":{"binary_data_output":true`...)
	h = appendParameters(h, req)
	h = append(h, `}}`...)
	cn.header = h

	out := cn.out[:0]
	out = append(out, m.start...)
	out = strconv.AppendInt(out, int64(len(cn.header)), 10)
	out = append(out, "\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(cn.header)+size), 10)
	out = append(out, "\r\n\r\n"...)
	out = append(out, cn.header...)
	out = append(out, req.Pixels...)
	if req.Pixels == nil {
		for _, v := range req.Images {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		}
	}
	cn.out = out
}

func appendParameters(h []byte, req *serve.Request) []byte {
	timeout := req.Timeout
	if timeout > 0 && !req.Start.IsZero() {
		// What passed before the request is sent is gone; a microsecond remains
		// so that the server counts the request.
		timeout = max(timeout-time.Since(req.Start), time.Microsecond)
	}
	if timeout > 0 {
		h = append(h, `,"timeout":`...)
		h = strconv.AppendInt(h, max(timeout.Microseconds(), 1), 10)
	}
	if req.Priority > 0 {
		h = append(h, `,"priority":`...)
		h = strconv.AppendInt(h, int64(max(math.MaxInt32-req.Priority, 1)), 10)
	}
	if req.MinAccuracy > 0 {
		h = append(h, `,"min_accuracy":`...)
		h = strconv.AppendFloat(h, req.MinAccuracy, 'g', -1, 64)
	}
	if req.Subnet != "" {
		h = append(h, `,"subnet":`...)
		h = append(h, quote(req.Subnet)...)
	}
	if req.Late == sched.Serve {
		h = append(h, `,"late":"serve"`...)
	}
	return h
}

// answer reads the body of a response, of which header bytes are JSON.
func (m *ClientModel) answer(body []byte, header, n int, resp *serve.Response) error {
	if header < 0 || header > len(body) {
		return fmt.Errorf("the server's answer has no binary part: %.80q", body)
	}
	s := &scanner{buf: body[:header]}
	rest := body[header:]
	for s.open('{'); s.more('}'); {
		switch key := s.key(); string(key) {
		case "parameters":
			m.answerParameters(s, resp)
		case "outputs":
			rest = m.answerOutputs(s, rest, n, resp)
		default:
			s.skip()
		}
	}
	s.end()
	if s.err != nil {
		return fmt.Errorf("the server's answer: %w", s.err)
	}
	if len(resp.Logits) != n*m.Classes || len(resp.Labels) != n || len(rest) != 0 {
		return fmt.Errorf("the server's answer has %d logits and %d labels for %d images of %d classes", len(resp.Logits), len(resp.Labels), n, m.Classes)
	}
	return nil
}

func (m *ClientModel) answerParameters(s *scanner, resp *serve.Response) {
	for s.open('{'); s.more('}'); {
		switch key := s.key(); string(key) {
		case "subnet":
			name := s.str()
			var ok bool
			if resp.Subnet, ok = m.names[string(name)]; !ok {
				resp.Subnet = string(name)
			}
		case "accuracy":
			resp.Accuracy = s.float64()
		case "batch_size":
			resp.Batch = int(s.integer("batch_size"))
		case "queue_us":
			resp.Queue = time.Duration(s.integer("queue_us")) * time.Microsecond
		case "compute_us":
			resp.Compute = time.Duration(s.integer("compute_us")) * time.Microsecond
		case "deadline_met":
			resp.DeadlineMet = s.boolean()
		default:
			s.skip()
		}
	}
}

// answerOutputs reads the outputs' values from the binary part and returns what is left.
func (m *ClientModel) answerOutputs(s *scanner, rest []byte, n int, resp *serve.Response) []byte {
	resp.Logits, resp.Labels = resp.Logits[:0], resp.Labels[:0]
	for s.open('['); s.more(']'); {
		label, size := false, int64(0)
		for s.open('{'); s.more('}'); {
			switch key := s.key(); string(key) {
			case "name":
				label = string(s.str()) == labelName
			case "parameters":
				for s.open('{'); s.more('}'); {
					if string(s.key()) == "binary_data_size" {
						size = s.integer("binary_data_size")
					} else {
						s.skip()
					}
				}
			default:
				s.skip()
			}
		}
		want := int64(4 * n * m.Classes)
		if label {
			want = int64(8 * n)
		}
		if size != want || size > int64(len(rest)) {
			s.failf("an output has %d bytes where %d are due", size, want)
			return rest
		}
		if label {
			for i := range n {
				resp.Labels = append(resp.Labels, int64(binary.LittleEndian.Uint64(rest[8*i:])))
			}
		} else {
			resp.Logits = grow(resp.Logits, n*m.Classes)
			floats(resp.Logits, rest)
		}
		rest = rest[size:]
	}
	return rest
}
