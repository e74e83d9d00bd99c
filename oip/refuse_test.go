package oip_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

// Each malformed request is refused with one sentence that names the fault.
func TestRefusedRequests(t *testing.T) {
	h := newToy(t)
	in := func(s string) string { return `{"inputs":[` + s + `]}` }
	image := func(shape, datatype, data string) string {
		return in(`{"name":"images","shape":` + shape + `,"datatype":"` + datatype + `","data":` + data + `}`)
	}
	params := func(s string) string { return `{"inputs":[` + imageJSON + `],"parameters":{` + s + `}}` }
	outputs := func(s string) string { return `{"inputs":[` + imageJSON + `],"outputs":[` + s + `]}` }
	deep := strings.Repeat("[", 101) + strings.Repeat("]", 101)
	for _, c := range []struct{ body, want string }{
		// JSON itself
		{``, "ends early"},
		{`[]`, "an object is expected"},
		{`{"inputs":[` + imageJSON + `]`, "ends early"},
		{in(imageJSON) + `x`, "the end is expected"},
		{in(imageJSON) + "\x00", "the end is expected"},
		{in(imageJSON) + in(imageJSON), "the end is expected"},
		{`{"inputs":[` + imageJSON + `],}`, "a string is expected"},
		{`{"x":` + deep + `}`, "deeper than 100"},
		{`{"x":1,"inputs":` + deep + `}`, "expected"},
		{`{"x":01}`, "a number is expected"},
		{`{"x":"` + "\n" + `"}`, "control characters"},
		{`{"x":"\q"}`, "escape"},
		{`{"x":"` + "\xff" + `"}`, "UTF-8"},
		{`{"x":tru}`, "true is expected"},
		{`{"id":5,"inputs":[` + imageJSON + `]}`, "a string is expected"},
		{`{"id":"a","id":"b","inputs":[` + imageJSON + `]}`, `"id" twice`},
		{`{"inputs":[` + imageJSON + `],"inputs":[` + imageJSON + `]}`, `"inputs" twice`},
		// inputs
		{`{}`, "no inputs"},
		{in(``), "no inputs"},
		{`{"inputs":null}`, "an array is expected"},
		{in(imageJSON + `,` + imageJSON), `input "images" twice`},
		{in(`{"name":"pixels","shape":[1,2,2,1],"datatype":"FP32","data":[0,1,1,0]}`), `input "pixels" is unknown`},
		{in(`{"shape":[1,2,2,1],"datatype":"FP32","data":[0,1,1,0]}`), "no name"},
		{in(`{"name":"images","datatype":"FP32","data":[0,1,1,0]}`), "no shape"},
		{in(`{"name":"images","shape":[1,2,2,1],"data":[0,1,1,0]}`), "no datatype"},
		{in(`{"name":"images","shape":[1,2,2,1],"datatype":"FP32"}`), "neither data nor binary_data_size"},
		{in(`{"name":"images","shape":[1,2,2,1],"shape":[1,2,2,1],"datatype":"FP32","data":[0,1,1,0]}`), `"shape" twice`},
		// shape and datatype
		{image(`[1,2,2]`, "FP32", `[0,1,1,0]`), "[n,2,2,1]"},
		{image(`[1,2,2,1,1]`, "FP32", `[0,1,1,0]`), "[n,2,2,1]"},
		{image(`[1,1,4,1]`, "FP32", `[0,1,1,0]`), "[n,2,2,1]"},
		{image(`[0,2,2,1]`, "FP32", `[]`), "[n,2,2,1]"},
		{image(`[-1,2,2,1]`, "FP32", `[0,1,1,0]`), "[n,2,2,1]"},
		{image(`[1.0,2,2,1]`, "FP32", `[0,1,1,0]`), "send an integer"},
		{image(`[18446744073709551617,2,2,1]`, "FP32", `[0,1,1,0]`), "send an integer"},
		{image(`[4611686018427387905,2,2,1]`, "FP32", `[0,1,1,0]`), "at most 8"},
		{image(`[9,2,2,1]`, "FP32", `[0,1,1,0]`), "at most 8"},
		{image(`[1,2,2,1]`, "FP16", `[0,1,1,0]`), "FP32 (pixel/255) or UINT8"},
		{image(`[1,2,2,1]`, "fp32", `[0,1,1,0]`), "FP32 (pixel/255) or UINT8"},
		// data
		{image(`[1,2,2,1]`, "FP32", `[0,1,1]`), "3 values and the shape needs 4"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,1,0,0]`), "5 values and the shape needs 4"},
		{image(`[2,2,2,1]`, "FP32", `[0,1,1,0]`), "4 values and the shape needs 8"},
		{image(`[1,2,2,1]`, "FP32", `[[0,1],[1,0]]`), "nest it as the shape"},
		{image(`[1,2,2,1]`, "FP32", `[[[[0],[1],[1],[0]]]]`), "nest it as the shape"},
		{image(`[1,2,2,1]`, "FP32", `[[[[0],[1]],[[1]]]]`), "nest it as the shape"},
		{image(`[1,2,2,1]`, "FP32", `[[[[0],[1]],[1,0]]]`), "unevenly"},
		{image(`[1,2,2,1]`, "FP32", `[0,[1],1,0]`), "unevenly"},
		{image(`[1,2,2,1]`, "FP32", `[[[[[0],[1]],[[1],[0]]]]]`), "nest it as the shape"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,1,NaN]`), "NaN or Infinity"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,-Infinity,0]`), "NaN or Infinity"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,Infinity,0]`), "NaN or Infinity"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,1e39,0]`), "does not fit FP32"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,"1",0]`), "a number is expected"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,null,0]`), "a number is expected"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,1.,0]`), "a digit is expected"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,.5,0]`), "a number is expected"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,00.5,0]`), "a number is expected"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,+1,0]`), "a number is expected"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,-,0]`), "a number is expected"},
		{image(`[1,2,2,1]`, "FP32", `[0,1,1e,0]`), "a digit is expected"},
		{image(`[1,2,2,1]`, "FP32", `"AAA="`), "an array is expected"},
		{image(`[1,2,2,1]`, "UINT8", `[0,256,1,0]`), "0 to 255"},
		{image(`[1,2,2,1]`, "UINT8", `[0,-1,1,0]`), "0 to 255"},
		{image(`[1,2,2,1]`, "UINT8", `[0,0.5,1,0]`), "0 to 255"},
		// parameters
		{params(`"timeout":-1`), "timeout"},
		{params(`"timeout":1.5`), "send an integer"},
		{params(`"timeout":1e3`), "send an integer"},
		{params(`"timeout":"1000"`), "send an integer"},
		{params(`"timeout":60000001`), "1 to 60000000"},
		{params(`"timeout":9223372036854775808`), "send an integer"},
		{params(`"priority":-1`), "priority"},
		{params(`"priority":true`), "send an integer"},
		{params(`"min_accuracy":2`), "0..1"},
		{params(`"min_accuracy":-0.1`), "0..1"},
		{params(`"min_accuracy":0.9`), "the best has 0.875"},
		{params(`"subnet":"huge"`), "GET /v2/models/toy/subnets"},
		{params(`"subnet":1`), "no string"},
		{params(`"late":"maybe"`), "reject or serve"},
		{params(`"late":"serve","late":"reject"`), `"late" twice`},
		{params(`"binary_data_output":1`), "true or false"},
		// outputs
		{outputs(`{"name":"scores"}`), `output "scores" is unknown`},
		{outputs(`{"name":"label"},{"name":"label"}`), `"label" twice`},
		{outputs(`{}`), "no name"},
		{outputs(`{"name":"label","parameters":{"classification":0}}`), "1 or more"},
		{outputs(`{"name":"label","parameters":{"classification":3}}`), "one value"},
		{outputs(`"label"`), "an object is expected"},
		{in(imageUINT8), "no header Inference-Header-Content-Length"},
	} {
		w := do(h, "POST", inferPath, []byte(c.body))
		if got := errorText(t, w); w.Code != 400 || !strings.Contains(got, c.want) {
			t.Errorf("%.200q\n\t%d %q, want 400 with %q", c.body, w.Code, got, c.want)
		}
	}
}

func TestRefusedBinaryRequests(t *testing.T) {
	h := newToy(t)
	u8 := `{"inputs":[` + imageUINT8 + `]}`
	sized := func(datatype string, size int) string {
		return fmt.Sprintf(`{"inputs":[{"name":"images","shape":[1,2,2,1],"datatype":%q,"parameters":{"binary_data_size":%d}}]}`, datatype, size)
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		header string
		data   []byte
		length string // "": the header's
		want   string
	}{
		{u8, make([]byte, 3), "", "3 bytes follow"},
		{u8, make([]byte, 5), "", "1 bytes follow"},
		{sized("UINT8", 5), make([]byte, 5), "", "the shape needs 4"},
		{sized("FP32", 4), make([]byte, 4), "", "the shape needs 16"},
		{sized("FP32", -4), make([]byte, 4), "", "binary_data_size is -4"},
		{sized("FP32", 16), fp32(0, 1, nan, 0), "", "value 2 of the input is NaN"},
		{sized("FP32", 16), fp32(0, 1, 1, inf), "", "value 3 of the input is -Inf"},
		{`{"inputs":[` + imageJSON + `]}`, []byte{1}, "", "1 bytes follow"},
		{strings.Replace(u8, `{"binary`, `{"binary_data_size":4,"binary`, 1), make([]byte, 4), "", "twice"},
		{strings.Replace(u8, `"shape"`, `"data":[0,0,0,0],"shape"`, 1), make([]byte, 4), "", "both"},
		{u8, make([]byte, 4), "1000", "the body has"},
		{u8, make([]byte, 4), "10", "ends early"},
		{u8, make([]byte, 4), "-1", "send the length"},
		{u8, make([]byte, 4), "ten", "send the length"},
		{u8, make([]byte, 4), "99999999999999999999", "send the length"},
		{u8, make([]byte, 4), "0", "raw body"},
	} {
		body, length := joined(c.header, c.data...)
		if c.length != "" {
			length = "Inference-Header-Content-Length: " + c.length
		}
		w := do(h, "POST", inferPath, body, length)
		if got := errorText(t, w); w.Code != 400 || !strings.Contains(got, c.want) {
			t.Errorf("%s + %d bytes, %s\n\t%d %q, want 400 with %q", c.header, len(c.data), length, w.Code, got, c.want)
		}
	}
}

func TestRefusedBodies(t *testing.T) {
	h := newToy(t)
	limit := 64<<10 + 32*32
	good := `{"inputs":[` + imageJSON + `]}`
	padded := []byte(good + strings.Repeat(" ", limit-len(good)))
	if w := do(h, "POST", inferPath, padded); w.Code != 200 {
		t.Errorf("a body of %d bytes: %d %s", len(padded), w.Code, w.Body)
	}
	large := bytes.Repeat([]byte{' '}, limit+1)
	for _, c := range []struct {
		name    string
		body    []byte
		headers []string
		status  int
		want    string
	}{
		{"large", large, nil, 413, "larger than"},
		{"bomb", zipped(t, "gzip", large), []string{"Content-Encoding: gzip"}, 413, "larger than"},
		{"deflated bomb", zipped(t, "deflate", large), []string{"Content-Encoding: deflate"}, 413, "larger than"},
		{"not gzip", []byte(good), []string{"Content-Encoding: gzip"}, 400, "can not be read"},
		{"not deflate", []byte(good), []string{"Content-Encoding: deflate"}, 400, "can not be read"},
		{"cut gzip", zipped(t, "gzip", []byte(good))[:30], []string{"Content-Encoding: gzip"}, 400, "ends early"},
		{"brotli", []byte(good), []string{"Content-Encoding: br"}, 415, "gzip, deflate"},
	} {
		w := do(h, "POST", inferPath, c.body, c.headers...)
		if got := errorText(t, w); w.Code != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s: %d %q, want %d with %q", c.name, w.Code, got, c.status, c.want)
		}
		// The pooled decompressors are fit for the next request.
		if w := do(h, "POST", inferPath, zipped(t, "gzip", []byte(good)), "Content-Encoding: gzip"); w.Code != 200 {
			t.Errorf("after %s: %d %s", c.name, w.Code, w.Body)
		}
	}
}
