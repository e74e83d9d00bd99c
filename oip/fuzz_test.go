package oip

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"testing"
)

// FuzzInfer decodes any body. What is accepted must be JSON to encoding/json,
// and must hold exactly the values that its shape says, all of them finite.
func FuzzInfer(f *testing.F) {
	image := `{"inputs":[{"name":"images","shape":[1,2,2,1],"datatype":"FP32","data":[0,1,0.5,-1e-3]}]}`
	nested := `{"id":"\u00e4","inputs":[{"data":[[[[0],[1]],[[1],[0]]]],"datatype":"UINT8","shape":[1,2,2,1],"name":"images"}],"outputs":[{"name":"label","parameters":{"binary_data":true}}],"parameters":{"timeout":5,"priority":1,"min_accuracy":0.5,"subnet":"a","late":"serve"}}`
	binaryJSON := `{"inputs":[{"name":"images","shape":[2,2,2,1],"datatype":"UINT8","parameters":{"binary_data_size":8}}]}`
	f.Add([]byte(image), -1)
	f.Add([]byte(nested), -1)
	f.Add([]byte(binaryJSON+"12345678"), len(binaryJSON))
	f.Add([]byte("1234"), 0)
	f.Add([]byte(`{"x":[[],{},"",null,true,1.5E+3]}`), -1)
	b := bounds{h: 2, w: 2, c: 1, maxImages: 4}
	var q inferRequest
	f.Fuzz(func(t *testing.T, body []byte, header int) {
		if header < -1 {
			header = -1
		}
		if err := q.decode(body, header, b); err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		text := body
		if header >= 0 {
			text = body[:header]
		}
		if header != 0 && !json.Valid(text) {
			t.Fatalf("accepted JSON that is none: %q", text)
		}
		n := q.req.N
		if n < 1 || n > b.maxImages || len(q.req.Images)+len(q.req.Pixels) != 4*n || q.req.Images != nil && q.req.Pixels != nil {
			t.Fatalf("accepted %d values and %d bytes for %d images", len(q.req.Images), len(q.req.Pixels), n)
		}
		for i, v := range q.req.Images {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				t.Fatalf("accepted %v at %d", v, i)
			}
		}
		if len(q.outputs) < 1 || len(q.outputs) > 2 {
			t.Fatalf("accepted %d outputs", len(q.outputs))
		}
		if header != 0 {
			agrees(t, &q, text, body[len(text):])
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
	for _, v := range q.req.Images {
		got = append(got, float64(v))
	}
	for _, v := range q.req.Pixels {
		got = append(got, float64(v))
	}
	if bytes.Contains(bytes.ToLower(text), []byte(`data"`)) && len(got) != len(want) {
		return // a key such as DATA, which encoding/json takes for data
	}
	for i := range got {
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
