package oip_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weft/serve"
)

// echo gives the first three values of an image as its logits.
type echo struct{}

func (echo) Run(_ int, images []float32, n int, logits []float32) error {
	for i := range n {
		copy(logits[3*i:3*i+3], images[4*i:])
	}
	return nil
}

// Any FP32 value comes back bit for bit, as JSON and in binary.
func TestValuesSurvive(t *testing.T) {
	h, _ := newHandler(t, serve.Options{}, toy(t, echo{}))
	header := `{"inputs":[{"name":"images","shape":[1,2,2,1],"datatype":"FP32","parameters":{"binary_data_size":16}}],` +
		`"outputs":[{"name":"logits","parameters":{"binary_data":false}}]}`
	rapid.Check(t, func(rt *rapid.T) {
		values := rapid.SliceOfN(rapid.Float32(), 4, 4).Draw(rt, "values")
		body, length := joined(header, fp32(values...)...)
		resp, _ := parse(t, do(h, "POST", inferPath, body, length))
		data := resp.Outputs[0].Data
		body, length = joined(strings.Replace(header, "false", "true", 1), fp32(values...)...)
		_, rest := parse(t, do(h, "POST", inferPath, body, length))
		for i := range 3 {
			want := math.Float32bits(values[i])
			if got := binary.LittleEndian.Uint32(rest[4*i:]); got != want {
				rt.Errorf("value %v is %v in binary", values[i], math.Float32frombits(got))
			}
			if got := math.Float32bits(float32(data[i])); got != want {
				rt.Errorf("value %v is %v as JSON", values[i], data[i])
			}
		}
	})
}
