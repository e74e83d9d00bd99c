package remote

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"weft/remote/wire"
)

// encode returns the bytes of a frame.
func encode(t testing.TB, f *frame) []byte {
	t.Helper()
	s, err := codec{}.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	return s.Materialize()
}

func allPixels(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = pixelValue[i%256]
	}
	return v
}

// What the codec writes is what any implementation of protocol buffers reads, and values
// come back bit for bit, as bytes where they can.
func TestFramesRoundTrip(t *testing.T) {
	odd := func(v float32) []float32 {
		values := allPixels(600)
		values[599] = v
		return values
	}
	nan := math.Float32frombits(0x7fc00001)
	for _, c := range []struct {
		name   string
		values []float32
		format wire.Format
	}{
		{"none", nil, wire.Format_NO_TENSOR},
		{"one pixel", []float32{1}, wire.Format_UINT8},
		{"pixels", allPixels(1000), wire.Format_UINT8},
		{"not quite a pixel", odd(math.Nextafter32(pixelValue[77], 1)), wire.Format_FP32},
		{"negative zero", odd(float32(math.Copysign(0, -1))), wire.Format_FP32},
		{"above", odd(256. / 255), wire.Format_FP32},
		{"below", odd(-1. / 255), wire.Format_FP32},
		{"huge", odd(3e38), wire.Format_FP32},
		{"infinite", odd(float32(math.Inf(-1))), wire.Format_FP32},
		{"nan", odd(nan), wire.Format_FP32},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent := &frame{Frame: wire.Frame{Kind: wire.Kind_RUN, Batch: 1 << 40, Model: 3, Subnet: 200, Images: 16, Error: "é"}, values: c.values}
			b := encode(t, sent)
			var plain wire.Frame
			if err := proto.Unmarshal(b, &plain); err != nil {
				t.Fatal(err)
			}
			var got frame
			// In two pieces, as the network may deliver it.
			if err := (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(b[:len(b)/2]), mem.SliceBuffer(b[len(b)/2:])}, &got); err != nil {
				t.Fatal(err)
			}
			defer got.free()
			if !slices.Equal(got.tensor, plain.Tensor) || got.Format != c.format {
				t.Errorf("tensor of %d bytes, format %v; another reader has %d", len(got.tensor), got.Format, len(plain.Tensor))
			}
			plain.Tensor = nil
			if !proto.Equal(&plain, &got.Frame) {
				t.Errorf("got %v, another reader %v", &got.Frame, &plain)
			}
			back := make([]float32, len(c.values))
			if err := got.floats(back); err != nil && c.values != nil {
				t.Fatal(err)
			}
			for i, v := range c.values {
				if math.Float32bits(v) != math.Float32bits(back[i]) {
					t.Fatalf("value %d: %v became %v", i, v, back[i])
				}
			}
			if err := got.floats(make([]float32, len(c.values)+1)); err == nil {
				t.Error("a tensor of another size was taken")
			}
		})
	}
}

// The codec reads what others write.
func TestFramesOfOthers(t *testing.T) {
	raw := binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.5))
	b, err := proto.Marshal(&wire.Frame{Kind: wire.Kind_RESULT, Batch: 9, Format: wire.Format_FP32, Tensor: raw})
	if err != nil {
		t.Fatal(err)
	}
	var f frame
	v := make([]float32, 1)
	if err := (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &f); err != nil || f.Batch != 9 || f.floats(v) != nil || v[0] != 0.5 {
		t.Errorf("%v %v %v", &f.Frame, v, err)
	}
	if err := (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(append(b, 0x10, 1))}, &f); err == nil {
		t.Error("a frame that goes on after the tensor was taken")
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(encode(f, &frame{Frame: wire.Frame{Kind: wire.Kind_RUN, Images: 2}, values: allPixels(8)}))
	f.Add(encode(f, &frame{Frame: wire.Frame{Kind: wire.Kind_RESULT}, values: []float32{0.3, 7}}))
	f.Add(encode(f, &frame{Frame: wire.Frame{Kind: wire.Kind_OPEN, Open: testOpen()}}))
	f.Add([]byte{0x7a, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var got frame
		err := codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &got)
		defer got.free()
		var plain wire.Frame
		if plainErr := proto.Unmarshal(b, &plain); plainErr != nil && err == nil && got.tensor == nil {
			t.Fatalf("taken, and another reader says %v", plainErr)
		} else if plainErr == nil && err == nil && !slices.Equal(plain.Tensor, got.tensor) {
			t.Fatalf("tensor %x, another reader has %x", got.tensor, plain.Tensor)
		}
		if err == nil {
			v := make([]float32, len(got.tensor))
			if got.floats(v) == nil && len(v) > 0 && got.Format != wire.Format_UINT8 {
				t.Fatalf("%d values of format %v from as many bytes", len(v), got.Format)
			}
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	values := allPixels(16 * 3072)
	back := make([]float32, len(values))
	f := &frame{Frame: wire.Frame{Kind: wire.Kind_RUN, Batch: 7, Images: 16}, values: values}
	b.Run("marshal", func(b *testing.B) {
		for b.Loop() {
			s, err := codec{}.Marshal(f)
			if err != nil {
				b.Fatal(err)
			}
			s.Free()
		}
	})
	s, err := codec{}.Marshal(f)
	if err != nil {
		b.Fatal(err)
	}
	var in frame
	b.Run("unmarshal", func(b *testing.B) {
		for b.Loop() {
			s.Ref()
			if err := (codec{}).Unmarshal(s, &in); err != nil {
				b.Fatal(err)
			}
			if err := in.floats(back); err != nil {
				b.Fatal(err)
			}
		}
	})
}
