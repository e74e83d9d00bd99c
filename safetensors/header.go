package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

// span is where a tensor lies in the data section.
type span struct{ begin, end uint64 }

// entry is a tensor's description in the header.
type entry struct {
	DType   DType     `json:"dtype"`
	Shape   []int     `json:"shape"`
	Offsets [2]uint64 `json:"data_offsets"`
}

// makeHeader describes the tensors, in their order, padded with spaces to a multiple of 8 bytes.
func makeHeader(metadata map[string]string, tensors []Tensor) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	field := func(key string, value any) error {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
		return err
	}
	if len(metadata) > 0 {
		if err := checkText(metadata); err != nil {
			return nil, err
		}
		if err := field(metadataKey, metadata); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{metadataKey: true}
	var at uint64
	for _, t := range tensors {
		want, err := byteLen(t.DType, t.Shape)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if want != len(t.Data) {
			return nil, fmt.Errorf("tensor %q has %d bytes, its type %s and shape %v need %d", t.Name, len(t.Data), t.DType, t.Shape, want)
		}
		if seen[t.Name] || !utf8.ValidString(t.Name) {
			return nil, fmt.Errorf("tensor name %q is used twice, reserved or not UTF-8", t.Name)
		}
		seen[t.Name] = true
		e := entry{t.DType, append([]int{}, t.Shape...), [2]uint64{at, at + uint64(want)}}
		if err := field(t.Name, e); err != nil {
			return nil, err
		}
		at += uint64(want)
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len() > maxHeader {
		return nil, fmt.Errorf("the header would have %d bytes, the format's limit is %d: shorten the metadata", b.Len(), maxHeader)
	}
	return b.Bytes(), nil
}

func checkText(metadata map[string]string) error {
	for k, v := range metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("metadata %q is not UTF-8", k)
		}
	}
	return nil
}

// parseHeader reads the tensors' descriptions, without their data, and where their data lies.
func parseHeader(header []byte) (*File, []span, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, errors.New("not a safetensors file: its header does not begin with {")
	}
	if !utf8.Valid(header) {
		return nil, nil, errors.New("the header is not UTF-8")
	}
	h := headerReader{json.NewDecoder(bytes.NewReader(header))}
	h.dec.UseNumber()
	f := &File{}
	var spans []span
	err := h.object(func(key string) error {
		if key == metadataKey {
			return h.metadata(f)
		}
		t := Tensor{Name: key}
		s, err := h.tensor(&t)
		f.Tensors, spans = append(f.Tensors, t), append(spans, s)
		return err
	})
	if err == nil {
		if _, end := h.dec.Token(); end != io.EOF {
			err = errors.New("something follows its closing }")
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the header is damaged: %w", err)
	}
	return f, spans, nil
}

// headerReader reads JSON token by token, because encoding/json would accept duplicate keys and nulls.
type headerReader struct{ dec *json.Decoder }

func (h headerReader) metadata(f *File) error {
	f.Metadata = map[string]string{}
	return h.object(func(key string) (err error) {
		f.Metadata[key], err = h.text()
		if err != nil {
			return fmt.Errorf("metadata %q: %w", key, err)
		}
		return nil
	})
}

// tensor reads the three fields of a tensor's description.
func (h headerReader) tensor(t *Tensor) (s span, err error) {
	fields := 0
	err = h.object(func(key string) error {
		fields++
		switch key {
		case "dtype":
			text, err := h.text()
			t.DType = DType(text)
			return err
		case "shape":
			dims, err := h.numbers()
			t.Shape = make([]int, len(dims))
			for i, d := range dims {
				if d > math.MaxInt {
					return fmt.Errorf("size %d is too large", d)
				}
				t.Shape[i] = int(d)
			}
			return err
		case "data_offsets":
			ends, err := h.numbers()
			if err == nil && len(ends) != 2 {
				err = fmt.Errorf("data_offsets holds %d numbers instead of 2", len(ends))
			}
			if err == nil {
				s = span{ends[0], ends[1]}
			}
			return err
		}
		return fmt.Errorf("unknown field %q", key)
	})
	if err == nil && fields != 3 {
		err = errors.New("dtype, shape or data_offsets is missing")
	}
	if err != nil {
		return s, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return s, nil
}

// object reads { ... }, calling value at each key to read what follows it.
func (h headerReader) object(value func(key string) error) error {
	if err := h.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for h.dec.More() {
		key, err := h.text()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("key %q comes twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	return h.delim('}')
}

// numbers reads an array of whole numbers.
func (h headerReader) numbers() ([]uint64, error) {
	if err := h.delim('['); err != nil {
		return nil, err
	}
	var out []uint64
	for h.dec.More() {
		tok, err := h.token()
		if err != nil {
			return nil, err
		}
		number, _ := tok.(json.Number)
		n, err := strconv.ParseUint(string(number), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%v is not a whole number", tok)
		}
		out = append(out, n)
	}
	return out, h.delim(']')
}

func (h headerReader) text() (string, error) {
	tok, err := h.token()
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", fmt.Errorf("%v stands where a text must", tok)
	}
	return s, nil
}

func (h headerReader) delim(want json.Delim) error {
	tok, err := h.token()
	if err != nil {
		return err
	}
	if tok != want {
		return fmt.Errorf("%v stands where %v must", tok, want)
	}
	return nil
}

func (h headerReader) token() (json.Token, error) {
	tok, err := h.dec.Token()
	if err == io.EOF {
		return nil, io.ErrUnexpectedEOF
	}
	return tok, err
}
