package oip

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"weft/safetensors"
	"weft/serve"
)

// classify replaces the outputs of which classes are wanted: each batch
// element by its largest values, as text VALUE:INDEX[:LABEL], largest first.
func (m *Metadata) classify(q *Request, resp *Response) error {
	for _, out := range q.Outputs {
		if out.Classes == 0 {
			continue
		}
		t := &resp.Outputs[out.Index]
		if err := classify(t, out.Classes, m.MaxBatch > 0, m.Labels[t.Name]); err != nil {
			return err
		}
	}
	return nil
}

func classify(t *Tensor, k int, batched bool, labels []string) error {
	if t.Datatype == Bytes || t.Datatype == Bool {
		return serve.Errorf(serve.Invalid, "the output %s is %v and has no largest value: ask for it without classification", t.Name, t.Datatype)
	}
	rows := int64(1)
	if batched && len(t.Shape) > 1 {
		rows = t.Shape[0]
	} else if batched {
		return serve.Errorf(serve.Invalid, "the output %s has one value an element of the batch: ask for it without classification", t.Name)
	}
	row := 0
	if rows > 0 {
		row = int(elements(t.Shape) / rows)
	}
	k = min(k, row)
	size := t.Datatype.Size()
	values := make([]float64, row)
	order := make([]int, row)
	var data []byte
	for r := range int(rows) {
		for i := range row {
			values[i] = t.Datatype.float64(t.Data[(r*row+i)*size:])
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
		for _, i := range order[:k] {
			data = appendBytes(data, t.Datatype.class(t.Data[(r*row+i)*size:], values[i], i, labels))
		}
	}
	t.Datatype, t.Data = Bytes, data
	if batched {
		t.Shape = append(t.Shape[:0], rows, int64(k))
	} else {
		t.Shape = append(t.Shape[:0], int64(k))
	}
	return nil
}

// class writes VALUE:INDEX[:LABEL].
func (d Datatype) class(data []byte, v float64, i int, labels []string) []byte {
	var text []byte
	if width, _ := d.bits(); width > 0 {
		text, _, _ = d.appendElement(nil, data) // integers always have a text
	} else {
		text = strconv.AppendFloat(nil, v, 'f', 6, 64)
	}
	text = strconv.AppendInt(append(text, ':'), int64(i), 10)
	if i < len(labels) {
		text = append(append(text, ':'), labels[i]...)
	}
	return text
}

// float64 reads the first element of a number type.
func (d Datatype) float64(data []byte) float64 {
	switch d {
	case FP16:
		return float64(safetensors.FromF16(binary.LittleEndian.Uint16(data)))
	case BF16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(data)) << 16))
	case FP32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))
	case FP64:
		return math.Float64frombits(binary.LittleEndian.Uint64(data))
	}
	width, signed := d.bits()
	v, _ := d.integer(data)
	if signed {
		return float64(int64(v) << (64 - width) >> (64 - width))
	}
	return float64(v)
}
