package oip

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"

	"weft/serve"
)

// endpoint is a model as the protocol shows it, with what never changes
// rendered once.
type endpoint struct {
	router  *serve.Router
	bounds  bounds
	maxBody int64
	// prefix opens every response: {"model_name":...,"model_version":...
	prefix  []byte
	subnets map[string][]byte // by name: ,"parameters":{"subnet":...,"accuracy":...
}

func newEndpoint(r *serve.Router, maxBody int64) *endpoint {
	m := r.Model()
	b := bounds{h: m.H, w: m.W, c: m.C, maxImages: m.Profile.MaxBatch}
	if maxBody == 0 {
		// A full batch as JSON: 24 bytes hold any float64, and its comma and spaces.
		maxBody = 64<<10 + 32*int64(b.maxImages*b.imageSize())
	}
	e := &endpoint{router: r, bounds: b, maxBody: maxBody, subnets: make(map[string][]byte)}
	e.prefix = append(e.prefix, `{"model_name":`...)
	e.prefix = append(e.prefix, quote(m.Name)...)
	e.prefix = append(e.prefix, `,"model_version":`...)
	e.prefix = append(e.prefix, quote(m.Version)...)
	for _, s := range m.Profile.Subnets {
		text := append([]byte(`,"parameters":{"subnet":`), quote(s.Name)...)
		text = append(text, `,"accuracy":`...)
		e.subnets[s.Name] = strconv.AppendFloat(text, s.Accuracy, 'g', -1, 64)
	}
	return e
}

// quote returns the string as JSON.
func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always marshal
	}
	return b
}

// encode appends the response to dst: JSON, then the binary tensors. header is
// the length of the JSON when there are binary tensors, else -1.
func (e *endpoint) encode(dst []byte, q *inferRequest, resp *serve.Response) (out []byte, header int) {
	start := len(dst)
	dst = append(dst, e.prefix...)
	if q.id != nil {
		dst = append(dst, `,"id":`...)
		dst = append(dst, q.id...)
	}
	dst = append(dst, e.subnets[resp.Subnet]...)
	dst = append(dst, `,"batch_size":`...)
	dst = strconv.AppendInt(dst, int64(resp.Batch), 10)
	dst = append(dst, `,"queue_us":`...)
	dst = strconv.AppendInt(dst, resp.Queue.Microseconds(), 10)
	dst = append(dst, `,"compute_us":`...)
	dst = strconv.AppendInt(dst, resp.Compute.Microseconds(), 10)
	dst = append(dst, `,"deadline_met":`...)
	dst = strconv.AppendBool(dst, resp.DeadlineMet)
	dst = append(dst, `},"outputs":[`...)
	binaries := false
	for i, out := range q.outputs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendOutput(dst, out, resp)
		binaries = binaries || out.binary
	}
	dst = append(dst, `]}`...)
	if !binaries {
		return dst, -1
	}
	header = len(dst) - start
	for _, out := range q.outputs {
		if out.binary {
			dst = appendBinary(dst, out, resp)
		}
	}
	return dst, header
}

// appendOutput appends the JSON of one output.
func appendOutput(dst []byte, out output, resp *serve.Response) []byte {
	n, size := len(resp.Labels), 0
	if out.label {
		dst = append(dst, `{"name":"label","datatype":"INT64","shape":[`...)
		dst = strconv.AppendInt(dst, int64(n), 10)
		size = 8 * n
	} else {
		dst = append(dst, `{"name":"logits","datatype":"FP32","shape":[`...)
		dst = strconv.AppendInt(dst, int64(n), 10)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, int64(len(resp.Logits)/n), 10)
		size = 4 * len(resp.Logits)
	}
	if out.binary {
		dst = append(dst, `],"parameters":{"binary_data_size":`...)
		dst = strconv.AppendInt(dst, int64(size), 10)
		return append(dst, `}}`...)
	}
	dst = append(dst, `],"data":[`...)
	if out.label {
		for _, v := range resp.Labels {
			dst = append(strconv.AppendInt(dst, v, 10), ',')
		}
	} else {
		for _, v := range resp.Logits {
			dst = append(strconv.AppendFloat(dst, float64(v), 'g', -1, 32), ',')
		}
	}
	dst[len(dst)-1] = ']' // in place of the last comma; there is one value at least
	return append(dst, '}')
}

// appendBinary appends the values of one output, little-endian.
func appendBinary(dst []byte, out output, resp *serve.Response) []byte {
	if out.label {
		for _, v := range resp.Labels {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
		}
		return dst
	}
	for _, v := range resp.Logits {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	return dst
}
