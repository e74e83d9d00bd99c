package remote

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"weft/remote/wire"
)

// frame is a message of the stream. Its tensor is encoded from values, straight into the
// buffer that goes to the network, and decoded from the one that came.
type frame struct {
	wire.Frame           // but for Tensor
	values     []float32 // sent as the tensor

	tensor []byte     // as received, within body
	body   mem.Buffer // to be given back, may be nil
}

// free gives the received buffer back. The tensor is gone then.
func (f *frame) free() {
	if f.body != nil {
		f.body.Free()
		f.body, f.tensor = nil, nil
	}
}

// codec writes and reads frames as protocol buffers. What it writes any implementation
// reads; it reads what has the tensor as the last field.
type codec struct{}

// Name is that of protocol buffers, which frames are.
func (codec) Name() string { return "proto" }

// tensorHead is what precedes a tensor: the field's tag in one byte, and the length padded
// to five, so that the tensor's place is known before its format.
const tensorHead = 1 + 5

const tensorTag = byte(15<<3 | protowire.BytesType)

// Marshal encodes a frame into one buffer of gRPC's pool.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("message %T is not a frame", v)
	}
	f.Format = wire.Format_NO_TENSOR
	if len(f.values) > 0 {
		f.Format = wire.Format_FP32 // as long as the other one
	}
	head := proto.Size(&f.Frame)
	room := head
	if len(f.values) > 0 {
		room += tensorHead + 4*len(f.values)
	}
	pool := mem.DefaultBufferPool()
	buf := pool.Get(room)
	b := (*buf)[:room]
	size := head
	if len(f.values) > 0 {
		n := putPixels(b[head+tensorHead:], f.values)
		if n > 0 {
			f.Format = wire.Format_UINT8
		} else {
			n = putFloats(b[head+tensorHead:], f.values)
		}
		b[head] = tensorTag
		putLength(b[head+1:], n)
		size += tensorHead + n
	}
	if _, err := (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(b[:0], &f.Frame); err != nil {
		pool.Put(buf)
		return nil, err
	}
	*buf = b[:size]
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

// putLength writes n as a varint of five bytes.
func putLength(b []byte, n int) {
	for i := range 4 {
		b[i] = byte(n>>(7*i)) | 0x80
	}
	b[4] = byte(n >> 28)
}

// pixelValue holds pixel/255 for every byte, the values of images that came as bytes.
var pixelValue = func() (v [256]float32) {
	for i := range v {
		v[i] = float32(i) / math.MaxUint8
	}
	return v
}()

// putPixels writes the values as bytes and returns their number, or 0 unless each value is
// exactly that of a pixel.
func putPixels(b []byte, values []float32) int {
	const block = 256 // values between looks at whether it is worth going on
	for at := 0; at < len(values); at += block {
		v := values[at:min(at+block, len(values))]
		d := b[at:][:len(v)]
		other := uint32(0)
		for i := range v {
			p := uint8(int32(v[i]*math.MaxUint8 + 0.5))
			other |= math.Float32bits(pixelValue[p]) ^ math.Float32bits(v[i])
			d[i] = p
		}
		if other != 0 {
			return 0
		}
	}
	return len(values)
}

// putFloats writes the values and returns the number of bytes.
func putFloats(b []byte, values []float32) int {
	for i, v := range values {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return 4 * len(values)
}

var errTensor = errors.New("the tensor is not the last field of the frame")

// Unmarshal decodes a frame, whose tensor stays in data until it is freed.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("message %T is not a frame", v)
	}
	f.free()
	body := data.MaterializeToBuffer(mem.DefaultBufferPool())
	b := body.ReadOnlyData()
	head, tensor, err := split(b)
	if err == nil {
		proto.Reset(&f.Frame)
		err = proto.UnmarshalOptions{Merge: true}.Unmarshal(head, &f.Frame)
	}
	if err != nil || tensor == nil {
		body.Free()
		return err
	}
	f.body, f.tensor = body, tensor
	return nil
}

// split finds the tensor at the end of a frame.
func split(b []byte) (head, tensor []byte, err error) {
	for at := 0; at < len(b); {
		num, typ, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		if num == 15 && typ == protowire.BytesType {
			tensor, m := protowire.ConsumeBytes(b[at+n:])
			switch {
			case m < 0:
				return nil, nil, protowire.ParseError(m)
			case at+n+m != len(b):
				return nil, nil, errTensor
			}
			return b[:at], tensor, nil
		}
		m := protowire.ConsumeFieldValue(num, typ, b[at+n:])
		if m < 0 {
			return nil, nil, protowire.ParseError(m)
		}
		at += n + m
	}
	return b, nil, nil
}

// floats decodes the tensor into dst, which it must fill.
func (f *frame) floats(dst []float32) error {
	switch {
	case f.Format == wire.Format_UINT8 && len(f.tensor) == len(dst):
		for i, p := range f.tensor {
			dst[i] = pixelValue[p]
		}
	case f.Format == wire.Format_FP32 && len(f.tensor) == 4*len(dst):
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(f.tensor[4*i:]))
		}
	default:
		return fmt.Errorf("the tensor has %d bytes of format %v for %d values", len(f.tensor), f.Format, len(dst))
	}
	return nil
}
