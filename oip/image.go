package oip

import (
	"context"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"sync"

	"weft/serve"
)

// The tensors of an image model.
const (
	inputName  = "images"
	logitsName = "logits"
	labelName  = "label"
)

// imageRank is that of the input: N, H, W, C.
const imageRank = 4

// imageModel is a supernet behind a router.
type imageModel struct {
	router *serve.Router
	md     Metadata
	calls  sync.Pool // of *imageCall
}

// imageCall is the memory of one request.
type imageCall struct {
	req    serve.Request
	resp   serve.Response
	images []float32
}

func newImageModel(r *serve.Router) *imageModel {
	m := r.Model()
	im := &imageModel{router: r, md: Metadata{
		Name:     m.Name,
		Versions: []string{m.Version},
		Platform: "weft_supernet",
		Inputs:   []TensorMetadata{{Name: inputName, Datatype: FP32, Also: Uint8, Shape: []int64{-1, int64(m.H), int64(m.W), int64(m.C)}}},
		Outputs: []TensorMetadata{
			{Name: logitsName, Datatype: FP32, Shape: []int64{-1, int64(m.Classes)}},
			{Name: labelName, Datatype: Int64, Shape: []int64{-1}},
		},
		Properties: map[string]string{
			"max_batch": strconv.Itoa(m.Profile.MaxBatch),
			"policy":    r.Policy(),
			"subnets":   strconv.Itoa(len(m.Profile.Subnets)),
		},
		MaxBatch: m.Profile.MaxBatch,
	}}
	if len(m.ClassNames) > 0 {
		im.md.Properties["classes"] = strings.Join(m.ClassNames, ",")
		im.md.Labels = map[string][]string{logitsName: m.ClassNames}
	}
	im.calls.New = func() any { return new(imageCall) }
	return im
}

// Metadata implements Model.
func (m *imageModel) Metadata() *Metadata { return &m.md }

// Ready implements Model.
func (m *imageModel) Ready() bool { return m.router.Ready() }

// Statistics implements Model.
func (m *imageModel) Statistics() serve.Statistics { return m.router.Statistics() }

// Infer implements Model.
func (m *imageModel) Infer(ctx context.Context, q *Request, resp *Response) error {
	c := m.calls.Get().(*imageCall)
	defer m.calls.Put(c)
	in := &q.Inputs[0]
	c.req = serve.Request{
		N: int(in.Shape[0]), Start: q.Start, Timeout: q.Timeout, Priority: q.Priority,
		MinAccuracy: q.MinAccuracy, Subnet: q.Subnet, Tenant: q.Tenant, Late: q.Late,
	}
	if in.Datatype == Uint8 {
		c.req.Pixels = in.Data
	} else {
		c.images = grow(c.images, len(in.Data)/4)
		if i := floats(c.images, in.Data); i >= 0 {
			return serve.Errorf(serve.Invalid, "the value %d of the input is %v: send finite numbers", i, c.images[i])
		}
		c.req.Images = c.images
	}
	err := m.router.InferInto(ctx, &c.req, &c.resp)
	c.req.Pixels = nil // the caller's
	if err != nil {
		return err
	}
	m.fill(&c.resp, resp)
	return nil
}

// fill puts an answer of the router into the protocol's terms.
func (m *imageModel) fill(from *serve.Response, resp *Response) {
	n := int64(len(from.Labels))
	logits, label := &resp.Outputs[0], &resp.Outputs[1]
	logits.Shape = append(logits.Shape[:0], n, m.md.Outputs[0].Shape[1])
	logits.Data = grow(logits.Data, 4*len(from.Logits))
	for i, v := range from.Logits {
		binary.LittleEndian.PutUint32(logits.Data[4*i:], math.Float32bits(v))
	}
	label.Shape = append(label.Shape[:0], n)
	label.Data = grow(label.Data, 8*len(from.Labels))
	for i, v := range from.Labels {
		binary.LittleEndian.PutUint64(label.Data[8*i:], uint64(v))
	}
	met := int64(0)
	if from.DeadlineMet {
		met = 1
	}
	resp.Parameters = append(resp.Parameters[:0],
		Parameter{Name: "subnet", Kind: String, Text: from.Subnet},
		Parameter{Name: "accuracy", Kind: Float, Number: from.Accuracy},
		Parameter{Name: "batch_size", Kind: Integer, Int: int64(from.Batch)},
		Parameter{Name: "queue_us", Kind: Integer, Int: from.Queue.Microseconds()},
		Parameter{Name: "compute_us", Kind: Integer, Int: from.Compute.Microseconds()},
		Parameter{Name: "deadline_met", Kind: Boolean, Int: met},
	)
}
