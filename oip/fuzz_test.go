package oip

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "weft/oip/inference"
)

// FuzzInfer decodes any body. What is accepted must be JSON to encoding/json,
// and must hold exactly the values that its shape says.
func FuzzInfer(f *testing.F) {
	image := `{"inputs":[{"name":"images","shape":[1,2,2,1],"datatype":"FP32","data":[0,1,0.5,-1e-3]}]}`
	nested := `{"id":"\u00e4","inputs":[{"data":[[[[0],[1]],[[1],[0]]]],"datatype":"UINT8","shape":[1,2,2,1],"name":"images"}],"outputs":[{"name":"label","parameters":{"binary_data":true}}],"parameters":{"timeout":5,"priority":1,"min_accuracy":0.5,"subnet":"a","late":"serve"}}`
	binaryJSON := `{"inputs":[{"name":"images","shape":[2,2,2,1],"datatype":"UINT8","parameters":{"binary_data_size":8}}]}`
	f.Add([]byte(image), -1)
	f.Add([]byte(nested), -1)
	f.Add([]byte(binaryJSON+"12345678"), len(binaryJSON))
	f.Add([]byte("1234"), 0)
	f.Add([]byte(`{"x":[[],{},"",null,true,1.5E+3]}`), -1)
	every := `{"inputs":[{"name":"BOOL","shape":[2],"datatype":"BOOL","data":[true,false]},{"name":"INT64","shape":[1],"datatype":"INT64","data":[-9223372036854775808]},` +
		`{"name":"BYTES","shape":[2],"datatype":"BYTES","data":["","\u0000"]},{"name":"FP64","shape":[0],"datatype":"FP64","data":[]}]}`
	f.Add([]byte(every), -1)
	models := []*Metadata{
		{
			Name: "toy", MaxBatch: 4,
			Inputs:  []TensorMetadata{{Name: inputName, Datatype: FP32, Also: Uint8, Shape: []int64{-1, 2, 2, 1}}},
			Outputs: []TensorMetadata{{Name: logitsName, Datatype: FP32, Shape: []int64{-1, 3}}, {Name: labelName, Datatype: Int64, Shape: []int64{-1}}},
		},
		{Name: "every"},
	}
	for _, d := range []Datatype{Bool, Int64, Bytes, FP64} {
		models[1].Inputs = append(models[1].Inputs, TensorMetadata{Name: d.String(), Datatype: d, Shape: []int64{-1}})
	}
	models[1].Outputs = models[1].Inputs
	var q inferRequest
	f.Fuzz(func(t *testing.T, body []byte, header int) {
		header = max(header, -1)
		for _, md := range models {
			if err := q.decode(body, header, md); err != nil {
				if err.Error() == "" {
					t.Error("an error without words")
				}
				continue
			}
			text := body
			if header >= 0 {
				text = body[:header]
			}
			if header != 0 && !json.Valid(text) {
				t.Fatalf("accepted JSON that is none: %q", text)
			}
			if err := md.check(&q.Request); err != nil {
				t.Fatalf("accepted %v: %v", q.Inputs, err)
			}
			if len(q.Outputs) < 1 || len(q.Outputs) > len(md.Outputs) {
				t.Fatalf("accepted %d outputs", len(q.Outputs))
			}
			if header != 0 && md.MaxBatch > 0 {
				agrees(t, &q, text, body[len(text):])
			}
		}
	})
}

// FuzzGRPC decodes any message of gRPC. What is accepted must be what the
// metadata allow, and must come back as typed contents the same.
func FuzzGRPC(f *testing.F) {
	md := &Metadata{Name: "every"}
	for d := Bool; d <= Bytes; d++ {
		md.Inputs = append(md.Inputs[:0:0], TensorMetadata{Name: "a", Datatype: Bytes, Also: d, Shape: []int64{-1, 1}})
		md.Outputs = md.Inputs
		for _, raw := range []bool{true, false} {
			msg := &pb.ModelInferRequest{Inputs: []*pb.ModelInferRequest_InferInputTensor{{Name: "a", Datatype: d.String(), Shape: []int64{1, 1}}}}
			if raw {
				msg.RawInputContents = [][]byte{make([]byte, max(d.Size(), 4))}
			} else {
				msg.Inputs[0].Contents = &pb.InferTensorContents{BytesContents: [][]byte{{1}}, IntContents: []int32{1}, UintContents: []uint32{1}}
			}
			wire, err := proto.Marshal(msg)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, uint8(d))
		}
	}
	var q, again grpcRequest
	f.Fuzz(func(t *testing.T, wire []byte, also uint8) {
		var msg pb.ModelInferRequest
		if proto.Unmarshal(wire, &msg) != nil {
			return
		}
		md := &Metadata{Name: "every", Inputs: []TensorMetadata{{Name: "a", Datatype: Bytes, Also: Datatype(also) % (Bytes + 1), Shape: []int64{-1, 1}}}}
		md.Outputs = md.Inputs
		if err := q.decode(&msg, md); err != nil {
			return
		}
		if err := md.check(&q.Request); err != nil {
			t.Fatalf("accepted %v: %v", q.Inputs, err)
		}
		in := &q.Inputs[0]
		if in.Datatype == FP16 || in.Datatype == BF16 {
			return
		}
		msg.RawInputContents, msg.Inputs[0].Contents = nil, typedContents(in)
		if err := again.decode(&msg, md); err != nil || !bytes.Equal(again.Inputs[0].Data, in.Data) {
			t.Fatalf("%v of % x came back as % x: %v", in.Datatype, in.Data, again.Inputs[0].Data, err)
		}
	})
}

// agrees compares the images with what encoding/json reads.
func agrees(t *testing.T, q *inferRequest, text, rest []byte) {
	var doc struct {
		Inputs []struct {
			Datatype string
			Data     any
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Inputs) != 1 {
		return // encoding/json folds case and so reads more keys than there are
	}
	want := flatten(nil, doc.Inputs[0].Data)
	if doc.Inputs[0].Data == nil {
		want = nil
		for i := range len(rest) / 4 * 4 {
			if doc.Inputs[0].Datatype == "UINT8" {
				want = append(want, float64(rest[i]))
			} else if i%4 == 0 {
				want = append(want, float64(math.Float32frombits(binary.LittleEndian.Uint32(rest[i:]))))
			}
		}
	}
	got := make([]float64, 0, len(want))
	in := &q.Inputs[0]
	for data := in.Data; len(data) > 0; data = data[in.Datatype.Size():] {
		got = append(got, in.Datatype.float64(data))
	}
	if bytes.Contains(bytes.ToLower(text), []byte(`data"`)) && len(got) != len(want) {
		return // a key such as DATA, which encoding/json takes for data
	}
	for i := range got {
		if math.IsNaN(want[i]) || math.IsInf(want[i], 0) {
			continue // in binary, which the model looks at
		}
		if diff := math.Abs(got[i] - want[i]); diff > 1.2e-7*math.Abs(want[i])+1e-45 {
			t.Fatalf("value %d is %v, encoding/json reads %v from %q", i, got[i], want[i], text)
		}
	}
}

func flatten(dst []float64, v any) []float64 {
	switch v := v.(type) {
	case float64:
		return append(dst, v)
	case []any:
		for _, e := range v {
			dst = flatten(dst, e)
		}
	}
	return dst
}

// The fast path of numbers is within one unit in the last place of strconv.
func FuzzFloat32(f *testing.F) {
	for _, s := range []string{"0", "-0.0", "1", "0.34901961684226990", "123456789012345678", "1e-45", "3.4028235e38", "16777217", "0.1", "9999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := &scanner{buf: []byte(text)}
		got := s.float32()
		s.end()
		want, err := strconv.ParseFloat(string(bytes.TrimSpace([]byte(text))), 32)
		if s.err != nil {
			if err == nil && isNumber(text) {
				t.Fatalf("%q is refused: %v", text, s.err)
			}
			return
		}
		if !isNumber(text) || err != nil {
			t.Fatalf("%q is accepted as %v", text, got)
		}
		w := float32(want)
		if got != w && got != math.Nextafter32(w, got) {
			t.Fatalf("%q is %v, want %v", text, got, w)
		}
	})
}

func isNumber(text string) bool {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return json.Valid([]byte(text)) // a number beyond float64
	}
	_, ok := v.(float64)
	return ok
}
