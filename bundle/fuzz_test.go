package bundle

import (
	"bytes"
	"testing"

	"weft/safetensors"
	"weft/supernet"
)

// FuzzBundle: any bytes give an error or a bundle whose subnets all compile and that is
// written again as it was read.
func FuzzBundle(f *testing.F) {
	raw := fileBytes(f, smallBundle(), true)
	f.Add(raw)
	f.Add(fileBytes(f, int8Bundle(), false))
	f.Add(raw[:len(raw)/2])
	f.Add([]byte("{}"))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, raw []byte) { decodeAny(t, raw) })
}

// FuzzChangedBundle changes one tensor and the description of a sound bundle, in ways
// that package safetensors lets pass.
func FuzzChangedBundle(f *testing.F) {
	file, err := int8Bundle().Encode(true)
	if err != nil {
		f.Fatal(err)
	}
	meta := file.Metadata[metaKey]
	f.Add(meta, uint8(0), uint16(0), []byte{0, 0x7e}, false)
	f.Add(meta, uint8(len(file.Tensors)-1), uint16(4), []byte{0, 0, 0x80, 0xff}, false)
	f.Add(meta, uint8(len(file.Tensors)-3), uint16(0), []byte{0xff, 0xff, 0xff, 0x7f}, false)
	f.Add(meta, uint8(len(file.Tensors)-4), uint16(8), []byte{1}, false)
	f.Add(meta, uint8(3), uint16(0), []byte{}, true)
	f.Add(`{"format":1}`, uint8(0), uint16(0), []byte{}, false)
	f.Fuzz(func(t *testing.T, meta string, tensor uint8, at uint16, patch []byte, drop bool) {
		file, err := int8Bundle().Encode(true)
		if err != nil {
			t.Fatal(err)
		}
		file.Metadata[metaKey] = meta
		i := int(tensor) % len(file.Tensors)
		if data := file.Tensors[i].Data; drop {
			file.Tensors = append(file.Tensors[:i], file.Tensors[i+1:]...)
		} else {
			copy(data[int(at)%len(data):], patch)
		}
		var buf bytes.Buffer
		if _, err := file.WriteTo(&buf); err != nil {
			return // a description that is not UTF-8
		}
		decodeAny(t, buf.Bytes())
	})
}

func decodeAny(t *testing.T, raw []byte) {
	f, err := safetensors.Decode(raw)
	if err != nil {
		return
	}
	b, err := Decode(f)
	if err != nil {
		return
	}
	table := supernet.NewTable(b.Net, b.Norms)
	for _, s := range b.Subnets {
		a, err := b.Net.Space.Parse(s.Arch)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := table.Plan(a); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range b.Int8 {
		a, err := b.Net.Space.Parse(s.Arch)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := supernet.NewInt8(b.Net, b.Norms, b.Ranges).Plan(a); err != nil {
			t.Fatal(err)
		}
	}
	again, err := decodeBytes(fileBytes(t, b, false))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fileBytes(t, again, false), fileBytes(t, b, false)) {
		t.Error("written and read, the bundle is another one")
	}
}
