package oip

import (
	"context"
	"encoding/binary"
	"strconv"
	"time"

	"weft/serve"
)

// simple is one of the models that Triton's examples call.
type simple struct {
	serve.Recorder
	md Metadata
	// add appends the sum and the difference of the first elements of a and b.
	add func(sum, difference, a, b []byte) (s, d, restA, restB []byte, err error)
}

var _ Model = (*simple)(nil)

// simpleWidth is the number of elements in a tensor, but for the batch.
const simpleWidth = 16

// Simple returns the models that the public examples of Triton's clients call:
// simple, which gives the sum and the difference of two tensors INT32 of
// [n,16], and simple_string, which does the same to decimal numbers as BYTES.
func Simple() []Model {
	return []Model{newSimple("simple", Int32, addInts), newSimple("simple_string", Bytes, addTexts)}
}

func newSimple(name string, d Datatype, add func(sum, difference, a, b []byte) (s, df, restA, restB []byte, err error)) Model {
	tensors := func(prefix string) []TensorMetadata {
		shape := []int64{-1, simpleWidth}
		return []TensorMetadata{{Name: prefix + "0", Datatype: d, Shape: shape}, {Name: prefix + "1", Datatype: d, Shape: shape}}
	}
	return &simple{add: add, md: Metadata{
		Name: name, Versions: []string{"1"}, Platform: "weft_simple", MaxBatch: 8,
		Inputs: tensors("INPUT"), Outputs: tensors("OUTPUT"),
	}}
}

// Metadata implements Model.
func (m *simple) Metadata() *Metadata { return &m.md }

// Ready implements Model.
func (m *simple) Ready() bool { return true }

// Infer implements Model.
func (m *simple) Infer(ctx context.Context, q *Request, resp *Response) error {
	start := time.Now()
	err := ctx.Err()
	if err == nil {
		err = m.compute(q, resp)
	}
	end := time.Now()
	if err == nil {
		m.Batch(serve.Batch{End: end, Requests: 1, Size: int(q.Inputs[0].Shape[0]), Infer: end.Sub(start)})
	}
	m.Request(end.Sub(start), err)
	return err
}

func (m *simple) compute(q *Request, resp *Response) (err error) {
	a, b := q.Inputs[0].Data, q.Inputs[1].Data
	sum, difference := &resp.Outputs[0], &resp.Outputs[1]
	for len(a) > 0 {
		if sum.Data, difference.Data, a, b, err = m.add(sum.Data, difference.Data, a, b); err != nil {
			return err
		}
	}
	sum.Shape = append(sum.Shape[:0], q.Inputs[0].Shape...)
	difference.Shape = append(difference.Shape[:0], q.Inputs[0].Shape...)
	return nil
}

func addInts(sum, difference, a, b []byte) (s, d, restA, restB []byte, err error) {
	x, y := binary.LittleEndian.Uint32(a), binary.LittleEndian.Uint32(b)
	return binary.LittleEndian.AppendUint32(sum, x+y), binary.LittleEndian.AppendUint32(difference, x-y), a[4:], b[4:], nil
}

func addTexts(sum, difference, a, b []byte) (s, d, restA, restB []byte, err error) {
	x, restA, err := nextNumber(a)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	y, restB, err := nextNumber(b)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	return appendBytes(sum, strconv.FormatInt(x+y, 10)), appendBytes(difference, strconv.FormatInt(x-y, 10)), restA, restB, nil
}

// nextNumber reads a decimal number from the first element of Bytes data.
func nextNumber(data []byte) (v int64, rest []byte, err error) {
	text, rest, err := nextBytes(data)
	if err != nil {
		return 0, nil, err
	}
	if v, err = strconv.ParseInt(string(text), 10, 32); err != nil {
		return 0, nil, serve.Errorf(serve.Invalid, "the element %.40q is no number: send integers of 32 bits as text", text)
	}
	return v, rest, nil
}
