package oip_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"weft/oip"
	pb "weft/oip/inference"
	"weft/serve"
)

// mirror gives back what it gets: one tensor of each of its datatypes.
type mirror struct {
	serve.Recorder
	md oip.Metadata
}

func newMirror(types ...oip.Datatype) *mirror {
	m := &mirror{md: oip.Metadata{Name: "mirror", Versions: []string{"7"}, Platform: "test_mirror"}}
	for _, d := range types {
		m.md.Inputs = append(m.md.Inputs, oip.TensorMetadata{Name: "in_" + d.String(), Datatype: d, Shape: []int64{-1}})
		m.md.Outputs = append(m.md.Outputs, oip.TensorMetadata{Name: "out_" + d.String(), Datatype: d, Shape: []int64{-1}})
	}
	return m
}

func (m *mirror) Metadata() *oip.Metadata { return &m.md }
func (m *mirror) Ready() bool             { return true }

func (m *mirror) Infer(_ context.Context, req *oip.Request, resp *oip.Response) error {
	for i := range req.Inputs {
		out := &resp.Outputs[i]
		out.Shape = append(out.Shape[:0], req.Inputs[i].Shape...)
		out.Data = append(out.Data[:0], req.Inputs[i].Data...)
	}
	return nil
}

// withModels serves the toy beside the models, over HTTP and gRPC.
func withModels(t testing.TB, models ...oip.Model) (http.Handler, pb.GRPCInferenceServiceClient) {
	t.Helper()
	s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	h := oip.NewHandler(s, oip.Options{Version: "1.2.3", Models: models})
	return h, dialGRPC(t, serveGRPC(t, h))
}

// refused checks that an error of gRPC has the code and names the fault.
func refused(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	if st := status.Convert(err); st.Code() != code || !strings.Contains(st.Message(), text) {
		t.Errorf("got %v %q, want %v with %q", st.Code(), st.Message(), code, text)
	}
}

// values are two elements of a datatype in each encoding.
type values struct {
	datatype oip.Datatype
	json     string // "": there is none
	binary   string // hex
	contents *pb.InferTensorContents
}

func everyDatatype() []values {
	nul := []byte{0}
	return []values{
		{oip.Bool, `[true,false]`, "0100", &pb.InferTensorContents{BoolContents: []bool{true, false}}},
		{oip.Uint8, `[255,0]`, "ff00", &pb.InferTensorContents{UintContents: []uint32{255, 0}}},
		{oip.Uint16, `[65535,1]`, "ffff0100", &pb.InferTensorContents{UintContents: []uint32{65535, 1}}},
		{oip.Uint32, `[4294967295,1]`, "ffffffff01000000", &pb.InferTensorContents{UintContents: []uint32{4294967295, 1}}},
		{oip.Uint64, `[18446744073709551615,9007199254740993]`, "ffffffffffffffff0100000000002000", &pb.InferTensorContents{Uint64Contents: []uint64{1<<64 - 1, 1<<53 + 1}}},
		{oip.Int8, `[-128,127]`, "807f", &pb.InferTensorContents{IntContents: []int32{-128, 127}}},
		{oip.Int16, `[-32768,1]`, "00800100", &pb.InferTensorContents{IntContents: []int32{-32768, 1}}},
		{oip.Int32, `[-2147483648,1]`, "0000008001000000", &pb.InferTensorContents{IntContents: []int32{-1 << 31, 1}}},
		{oip.Int64, `[-9223372036854775808,-9007199254740993]`, "0000000000000080ffffffffffffdfff", &pb.InferTensorContents{Int64Contents: []int64{-1 << 63, -1<<53 - 1}}},
		{oip.FP16, "", "003c00c0", nil},
		{oip.BF16, "", "803f00c0", nil},
		{oip.FP32, `[0.1,-3.4028235e+38]`, "cdcccc3dffff7fff", &pb.InferTensorContents{Fp32Contents: []float32{0.1, -3.4028235e+38}}},
		{oip.FP64, `[0.1,-1e+300]`, "9a9999999999b93f9c7500883ce437fe", &pb.InferTensorContents{Fp64Contents: []float64{0.1, -1e300}}},
		{oip.Bytes, `["","a\u0000é"]`, "000000000400000061" + "00c3a9", &pb.InferTensorContents{BytesContents: [][]byte{{}, append(append([]byte("a"), nul...), "é"...)}}},
	}
}

func (v *values) bytes(t *testing.T) []byte {
	t.Helper()
	b, err := hex.DecodeString(v.binary)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every datatype comes back as it was sent, over HTTP as JSON and in binary.
func TestEveryDatatypeOverHTTP(t *testing.T) {
	for _, v := range everyDatatype() {
		h, _ := withModels(t, newMirror(v.datatype))
		data := v.bytes(t)
		for _, binaryIn := range []bool{false, true} {
			for _, binaryOut := range []bool{false, true} {
				input := fmt.Sprintf(`{"name":"in_%v","shape":[2],"datatype":%q,"data":%s}`, v.datatype, v.datatype, v.json)
				var headers []string
				var body []byte
				if v.json == "" {
					input = strings.Replace(input, `"data":`, `"data":[1,2]`, 1)
				}
				if binaryIn {
					input = fmt.Sprintf(`{"name":"in_%v","shape":[2],"datatype":%q,"parameters":{"binary_data_size":%d}}`, v.datatype, v.datatype, len(data))
				}
				body = fmt.Appendf(nil, `{"inputs":[%s],"parameters":{"binary_data_output":%v}}`, input, binaryOut)
				if binaryIn {
					joinedBody, length := joined(string(body), data...)
					body, headers = joinedBody, []string{length}
				}
				w := do(h, "POST", "/v2/models/mirror/infer", body, headers...)
				if v.json == "" && !(binaryIn && binaryOut) {
					if text := errorText(t, w); w.Code != 400 || !strings.Contains(text, "no form in JSON") {
						t.Errorf("%v as JSON: %d %s", v.datatype, w.Code, text)
					}
					continue
				}
				checkMirrored(t, &v, binaryOut, w.Code, w.Body.Bytes(), w.Header().Get("Inference-Header-Content-Length"), data)
			}
		}
	}
}

func checkMirrored(t *testing.T, v *values, binaryOut bool, code int, body []byte, length string, data []byte) {
	t.Helper()
	want := fmt.Sprintf(`{"model_name":"mirror","model_version":"7","outputs":[{"name":"out_%v","datatype":%q,"shape":[2],`, v.datatype, v.datatype)
	if binaryOut {
		want += fmt.Sprintf(`"parameters":{"binary_data_size":%d}}]}`, len(data))
		if length != strconv.Itoa(len(want)) {
			t.Errorf("%v: header length %q, want %d", v.datatype, length, len(want))
		}
		want += string(data)
		if string(body) != want || code != 200 {
			t.Errorf("%v: %d %q\nwant %q", v.datatype, code, body, want)
		}
		return
	}
	// Numbers must be the same as text: 64 bits do not fit a float64.
	var got struct {
		Outputs []struct{ Data json.RawMessage }
	}
	if err := json.Unmarshal(body, &got); err != nil || code != 200 || len(got.Outputs) != 1 || !sameJSON(string(got.Outputs[0].Data), v.json) {
		t.Errorf("%v: %d %s, want data %s", v.datatype, code, body, v.json)
	}
}

// sameJSON compares but for how characters of strings are escaped.
func sameJSON(a, b string) bool {
	var x, y []string
	if json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil {
		return cmp.Equal(x, y)
	}
	return a == b
}

// Every datatype comes back as it was sent, over gRPC as typed and as raw contents.
func TestEveryDatatypeOverGRPC(t *testing.T) {
	for _, v := range everyDatatype() {
		_, client := withModels(t, newMirror(v.datatype))
		data := v.bytes(t)
		for _, raw := range []bool{true, false} {
			for _, typedOut := range []bool{false, true} {
				req := &pb.ModelInferRequest{
					ModelName: "mirror", ModelVersion: "7", Id: "42",
					Inputs: []*pb.ModelInferRequest_InferInputTensor{{Name: "in_" + v.datatype.String(), Datatype: v.datatype.String(), Shape: []int64{2}}},
				}
				if raw {
					req.RawInputContents = [][]byte{data}
				} else {
					req.Inputs[0].Contents = v.contents
				}
				if typedOut {
					req.Parameters = map[string]*pb.InferParameter{"binary_data_output": {ParameterChoice: &pb.InferParameter_BoolParam{}}}
				}
				resp, err := client.ModelInfer(t.Context(), req)
				if v.contents == nil && !(raw && !typedOut) {
					refused(t, err, codes.InvalidArgument, "no typed contents")
					continue
				}
				want := &pb.ModelInferResponse{
					ModelName: "mirror", ModelVersion: "7", Id: "42",
					Outputs: []*pb.ModelInferResponse_InferOutputTensor{{Name: "out_" + v.datatype.String(), Datatype: v.datatype.String(), Shape: []int64{2}}},
				}
				if typedOut {
					want.Outputs[0].Contents = v.contents
				} else {
					want.RawOutputContents = [][]byte{data}
				}
				if diff := cmp.Diff(want, resp, protocmp.Transform()); err != nil || diff != "" {
					t.Errorf("%v, raw %v, typed out %v: %v (-want +got):\n%s", v.datatype, raw, typedOut, err, diff)
				}
			}
		}
	}
}

// simpleInputs are 0..15 and sixteen times 1, as the model simple takes them.
func simpleInputs() (a, b []byte) {
	for i := range 16 {
		a = binary.LittleEndian.AppendUint32(a, uint32(i))
		b = binary.LittleEndian.AppendUint32(b, 1)
	}
	return a, b
}

// One input as JSON and the other in binary, in any order.
func TestMixedInputs(t *testing.T) {
	h, _ := withModels(t, oip.Simple()...)
	a, b := simpleInputs()
	ones := strings.Repeat("1,", 15) + "1"
	json1 := `{"name":"INPUT1","shape":[1,16],"datatype":"INT32","data":[[` + ones + `]]}`
	binary0 := `{"name":"INPUT0","shape":[1,16],"datatype":"INT32","parameters":{"binary_data_size":64}}`
	binary1 := strings.Replace(binary0, "INPUT0", "INPUT1", 1)
	for name, c := range map[string]struct {
		inputs string
		data   []byte
	}{
		"binary, JSON":             {binary0 + "," + json1, a},
		"JSON, binary":             {json1 + "," + binary0, a},
		"both binary":              {binary0 + "," + binary1, append(a[:64:64], b...)},
		"both binary, other way":   {binary1 + "," + binary0, append(b[:64:64], a...)},
		"both JSON, the last flat": {`{"name":"INPUT0","shape":[1,16],"datatype":"INT32","data":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]},` + json1, nil},
	} {
		body, length := joined(`{"inputs":[`+c.inputs+`],"outputs":[{"name":"OUTPUT1"},{"name":"OUTPUT0"}]}`, c.data...)
		w := do(h, "POST", "/v2/models/simple/versions/1/infer", body, length)
		if w.Code != 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
			continue
		}
		resp, _ := parse(t, w)
		for i := range 16 {
			if resp.Outputs[0].Data[i] != float64(i-1) || resp.Outputs[1].Data[i] != float64(i+1) {
				t.Errorf("%s: %s", name, w.Body)
				break
			}
		}
	}
}

// What does not match the metadata or itself is refused in every encoding.
func TestRefusedTensors(t *testing.T) {
	h, client := withModels(t, newMirror(oip.Bytes, oip.Int8, oip.Bool))
	good := func() *pb.ModelInferRequest {
		return &pb.ModelInferRequest{
			ModelName: "mirror",
			Inputs: []*pb.ModelInferRequest_InferInputTensor{
				{Name: "in_BYTES", Datatype: "BYTES", Shape: []int64{2}, Contents: &pb.InferTensorContents{BytesContents: [][]byte{{1}, {}}}},
				{Name: "in_INT8", Datatype: "INT8", Shape: []int64{1}, Contents: &pb.InferTensorContents{IntContents: []int32{-5}}},
				{Name: "in_BOOL", Datatype: "BOOL", Shape: []int64{0}},
			},
		}
	}
	if _, err := client.ModelInfer(t.Context(), good()); err != nil {
		t.Fatal(err)
	}
	raw := func(bytesData ...byte) func(*pb.ModelInferRequest) {
		return func(r *pb.ModelInferRequest) {
			for _, in := range r.Inputs {
				in.Contents = nil
			}
			r.RawInputContents = [][]byte{bytesData, {5}, {}}
		}
	}
	parameter := func(name string, p *pb.InferParameter) func(*pb.ModelInferRequest) {
		return func(r *pb.ModelInferRequest) { r.Parameters = map[string]*pb.InferParameter{name: p} }
	}
	text := &pb.InferParameter{ParameterChoice: &pb.InferParameter_StringParam{StringParam: "soon"}}
	negative := &pb.InferParameter{ParameterChoice: &pb.InferParameter_Int64Param{Int64Param: -1}}
	for name, c := range map[string]struct {
		change func(*pb.ModelInferRequest)
		code   codes.Code
		want   string
	}{
		"unknown model":     {func(r *pb.ModelInferRequest) { r.ModelName = "none" }, codes.NotFound, "unknown"},
		"unknown version":   {func(r *pb.ModelInferRequest) { r.ModelVersion = "8" }, codes.NotFound, "has version 7"},
		"unknown input":     {func(r *pb.ModelInferRequest) { r.Inputs[0].Name = "x" }, codes.InvalidArgument, `input "x" is unknown`},
		"input twice":       {func(r *pb.ModelInferRequest) { r.Inputs[1] = r.Inputs[0] }, codes.InvalidArgument, "twice"},
		"input missing":     {func(r *pb.ModelInferRequest) { r.Inputs = r.Inputs[:2] }, codes.InvalidArgument, "lacks the input in_BOOL"},
		"no input":          {func(r *pb.ModelInferRequest) { r.Inputs = nil }, codes.InvalidArgument, "lacks"},
		"datatype":          {func(r *pb.ModelInferRequest) { r.Inputs[1].Datatype = "INT16" }, codes.InvalidArgument, "takes INT8"},
		"negative side":     {func(r *pb.ModelInferRequest) { r.Inputs[1].Shape = []int64{-1} }, codes.InvalidArgument, "shape of input in_INT8"},
		"huge side":         {func(r *pb.ModelInferRequest) { r.Inputs[1].Shape = []int64{1 << 62} }, codes.InvalidArgument, "shape of input in_INT8"},
		"rank":              {func(r *pb.ModelInferRequest) { r.Inputs[1].Shape = []int64{1, 1} }, codes.InvalidArgument, "shape of input in_INT8"},
		"too few elements":  {func(r *pb.ModelInferRequest) { r.Inputs[1].Shape = []int64{2} }, codes.InvalidArgument, "shape needs 2"},
		"too large a value": {func(r *pb.ModelInferRequest) { r.Inputs[1].Contents.IntContents[0] = 128 }, codes.InvalidArgument, "-128 to 127"},
		"wrong field": {func(r *pb.ModelInferRequest) {
			r.Inputs[1].Contents = &pb.InferTensorContents{UintContents: []uint32{5}}
		}, codes.InvalidArgument, "other fields"},
		"raw and typed": {func(r *pb.ModelInferRequest) { r.RawInputContents = [][]byte{{}, {5}, {}} }, codes.InvalidArgument, "one of the two"},
		"too few raw": {func(r *pb.ModelInferRequest) {
			raw(0, 0, 0, 0, 0, 0, 0, 0)(r)
			r.RawInputContents = r.RawInputContents[:2]
		}, codes.InvalidArgument, "3 inputs and 2 raw_input_contents"},
		"BYTES too many":    {raw(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), codes.InvalidArgument, "more than the 2 elements"},
		"BYTES too few":     {raw(0, 0, 0, 0), codes.InvalidArgument, "1 elements"},
		"BYTES none":        {raw(), codes.InvalidArgument, "0 elements"},
		"BYTES cut":         {raw(0, 0, 0, 0, 9, 0, 0, 0, 1), codes.InvalidArgument, "cut off"},
		"BYTES length cut":  {raw(0, 0, 0, 0, 9, 0), codes.InvalidArgument, "cut off"},
		"BYTES huge length": {raw(0, 0, 0, 0, 255, 255, 255, 255), codes.InvalidArgument, "cut off"},
		"unknown output": {func(r *pb.ModelInferRequest) {
			r.Outputs = []*pb.ModelInferRequest_InferRequestedOutputTensor{{Name: "x"}}
		}, codes.InvalidArgument, `output "x"`},
		"output twice": {func(r *pb.ModelInferRequest) {
			r.Outputs = []*pb.ModelInferRequest_InferRequestedOutputTensor{{Name: "out_INT8"}, {Name: "out_INT8"}}
		}, codes.InvalidArgument, "twice"},
		"timeout of a string":  {parameter("timeout", text), codes.InvalidArgument, "send an integer"},
		"negative timeout":     {parameter("timeout", negative), codes.InvalidArgument, "timeout is -1"},
		"priority of a string": {parameter("priority", text), codes.InvalidArgument, "send an integer"},
		"negative priority":    {parameter("priority", negative), codes.InvalidArgument, "priority is -1"},
		"empty parameter":      {parameter("priority", &pb.InferParameter{}), codes.InvalidArgument, "send an integer"},
	} {
		t.Run(name, func(t *testing.T) {
			req := good()
			c.change(req)
			_, err := client.ModelInfer(t.Context(), req)
			refused(t, err, c.code, c.want)
		})
	}
	bools := `{"inputs":[{"name":"in_BOOL","shape":[1],"datatype":"BOOL","parameters":{"binary_data_size":1}},` +
		`{"name":"in_BYTES","shape":[0],"datatype":"BYTES","data":[]},{"name":"in_INT8","shape":[0],"datatype":"INT8","data":[]}]}`
	body, length := joined(bools, 2)
	if w := do(h, "POST", "/v2/models/mirror/infer", body, length); w.Code != 400 || !strings.Contains(errorText(t, w), "BOOL takes 0 and 1") {
		t.Errorf("a bool of 2: %d %s", w.Code, w.Body)
	}
}

// NaN and infinities pass in binary; JSON has no form for them.
func TestNotFinite(t *testing.T) {
	h, _ := withModels(t, newMirror(oip.FP32))
	data := []byte{0, 0, 0xc0, 0x7f, 0, 0, 0x80, 0xff} // NaN, -Inf
	header := `{"inputs":[{"name":"in_FP32","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}}`
	body, length := joined(header, data...)
	w := do(h, "POST", "/v2/models/mirror/infer", body, length)
	if _, rest := parse(t, w); !bytes.Equal(rest, data) {
		t.Errorf("in binary: % x, want % x", rest, data)
	}
	body, length = joined(strings.Replace(header, "true", "false", 1), data...)
	w = do(h, "POST", "/v2/models/mirror/infer", body, length)
	if text := errorText(t, w); w.Code != 400 || !strings.Contains(text, "NaN or infinite") {
		t.Errorf("as JSON: %d %s", w.Code, text)
	}
}

// The raw form of a body, for models of other shapes than images.
func TestRawBodies(t *testing.T) {
	h, _ := withModels(t, newMirror(oip.Int16))
	w := do(h, "POST", "/v2/models/mirror/infer", []byte{1, 0, 2, 0, 3, 0}, "Inference-Header-Content-Length: 0")
	resp, rest := parse(t, w)
	if !cmp.Equal(resp.Outputs[0].Shape, []int{3}) || !bytes.Equal(rest, []byte{1, 0, 2, 0, 3, 0}) {
		t.Errorf("%s", w.Body)
	}
	if w := do(h, "POST", "/v2/models/mirror/infer", []byte{1, 0, 2}, "Inference-Header-Content-Length: 0"); w.Code != 400 {
		t.Errorf("half an element: %d", w.Code)
	}
	h, _ = withModels(t, newMirror(oip.Bytes))
	w = do(h, "POST", "/v2/models/mirror/infer", []byte("abc"), "Inference-Header-Content-Length: 0")
	if _, rest := parse(t, w); string(rest) != "\x03\x00\x00\x00abc" {
		t.Errorf("%q", rest)
	}
	h, _ = withModels(t, oip.Simple()...)
	if w := do(h, "POST", "/v2/models/simple/infer", make([]byte, 64), "Inference-Header-Content-Length: 0"); w.Code != 400 || !strings.Contains(errorText(t, w), "takes 2 inputs") {
		t.Errorf("a raw body for two inputs: %d", w.Code)
	}
}
