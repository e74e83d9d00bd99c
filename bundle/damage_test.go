package bundle

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"weft/safetensors"
)

// description is a bundle's metadata as JSON.
type description map[string]any

// damaged returns the bundle's file after a change of its description and tensors.
func damaged(t testing.TB, change func(description, *safetensors.File)) *safetensors.File {
	t.Helper()
	f, err := smallBundle().Encode(false)
	if err != nil {
		t.Fatal(err)
	}
	var d description
	dec := json.NewDecoder(strings.NewReader(f.Metadata[metaKey]))
	dec.UseNumber() // a seed has more digits than a float64
	if err := dec.Decode(&d); err != nil {
		t.Fatal(err)
	}
	change(d, f)
	if f.Metadata != nil {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		f.Metadata[metaKey] = string(text)
	}
	return f
}

func described(change func(description)) func(description, *safetensors.File) {
	return func(d description, _ *safetensors.File) { change(d) }
}

func set(key string, v any) func(description, *safetensors.File) {
	return described(func(d description) { d[key] = v })
}

// subnet changes a field of the second subnet.
func subnet(key string, v any) func(description, *safetensors.File) {
	return described(func(d description) { d["subnets"].([]any)[1].(map[string]any)[key] = v })
}

func space(key string, v any) func(description, *safetensors.File) {
	return described(func(d description) { d["space"].(map[string]any)[key] = v })
}

// without removes a tensor, and with puts another one in its place.
func without(name string) func(description, *safetensors.File) {
	return func(_ description, f *safetensors.File) {
		f.Tensors = slices.DeleteFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == name })
	}
}

func with(t safetensors.Tensor) func(description, *safetensors.File) {
	return func(d description, f *safetensors.File) {
		without(t.Name)(d, f)
		f.Tensors = append(f.Tensors, t)
	}
}

// patched changes the bytes of a tensor.
func patched(name string, change func([]byte)) func(description, *safetensors.File) {
	return func(_ description, f *safetensors.File) { change(f.ByName()[name].Data) }
}

func TestDecodeRefuses(t *testing.T) {
	nan := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.NaN())))
	negative := binary.LittleEndian.AppendUint32(nil, math.Float32bits(-1))
	for name, c := range map[string]struct {
		change func(description, *safetensors.File)
		want   string
	}{
		"no metadata":      {func(_ description, f *safetensors.File) { f.Metadata = nil }, `not a bundle of weft: its metadata has no "weft"`},
		"no format":        {described(func(d description) { delete(d, "format") }), "it names no format"},
		"format -1":        {set("format", -1), "it names no format"},
		"newer format":     {set("format", 2), "has format 2 and this weft reads up to 1; use a newer weft"},
		"newer everything": {described(func(d description) { d["format"], d["space"], d["subnets"] = 7, "new", 7 }), "has format 7"},
		"format text":      {set("format", "one"), "description is damaged"},
		"no space":         {described(func(d description) { delete(d, "space") }), "description of a space"},
		"space null":       {set("space", nil), "space"},
		"other family":     {space("family", "vit"), `family is "vit"`},
		"unknown field":    {space("heads", 8), "unknown field"},
		"wide space":       {space("stem", map[string]any{"width": 16384, "stride": 1}), "tensor weights.stem.weight has shape [16 3 3 1], too few values"},
		"other width":      {space("stem", map[string]any{"width": 8, "stride": 1}), "tensor weights.stem.weight has shape [16 3 3 1] and the bundle's space asks for [8 3 3 1]"},
		"mean":             {set("mean", []float32{0.1, 0.2}), "2 means and 1 deviations for images of 1 channels"},
		"no std":           {set("std", nil), "1 means and 0 deviations"},
		"zero std":         {set("std", []float32{0}), "deviation 0; the bundle is damaged"},
		"class names":      {set("class_names", []string{"a"}), "names 1 classes and its network tells 10 apart"},
		"no name":          {set("name", ""), "the model has no name"},
		"no subnets":       {set("subnets", []any{}), "names no subnet to serve"},
		"accuracy":         {subnet("accuracy", 1.5), "accuracy 1.5"},
		"test accuracy":    {subnet("test_accuracy", -0.5), "test accuracy -0.5"},
		"order":            {subnet("accuracy", 0.01), "comes after a more accurate one"},
		"twice":            {subnet("arch", "d1-1-1_e25_w50-50-50"), "subnet d1-1-1_e25_w50-50-50 is listed twice"},
		"not a subnet":     {subnet("arch", "d9_e25_w50"), `"d9_e25_w50"`},
		"no statistics":    {subnet("arch", "d2_e25_w50"), "subnet d2_e25_w50 has no statistics for layer s1.b1.conv1; write the bundle again with weft search"},

		"no keys":          {without(normKeys), "tensor norm.keys is missing"},
		"no channels":      {without(normChannels), "tensor norm.channels is missing"},
		"no means":         {without(normMean), "tensor norm.mean is missing"},
		"no variances":     {without(normVar), "tensor norm.var is missing"},
		"keys of F32":      {with(safetensors.NewF32(normKeys, []int{1}, []float32{1})), `tensor "norm.keys" has type F32`},
		"keys in a matrix": {with(safetensors.NewI64(normKeys, []int{1, 1}, []int64{1})), "tensor norm.keys has shape [1 1]"},
		"too few keys":     {with(safetensors.NewI64(normKeys, []int{1}, []int64{1})), "1 keys for"},
		"too few means":    {with(safetensors.NewF32(normMean, []int{1}, []float32{1})), "1 means for"},
		"no channels left": {patched(normChannels, func(b []byte) { b[2] = 1 }), "channels and"},
		"no channel":       {patched(normChannels, func(b []byte) { clear(b[:4]) }), "entry 0 has 0 channels"},
		"negative channel": {patched(normChannels, func(b []byte) { b[3] = 0x80 }), "entry 0 has -"},
		"NaN mean":         {patched(normMean, func(b []byte) { copy(b, nan) }), "entry 0: channel 0 has mean NaN"},
		"NaN variance":     {patched(normVar, func(b []byte) { copy(b[8:], nan) }), "entry 0: channel 2 has mean"},
		"minus variance":   {patched(normVar, func(b []byte) { copy(b, negative) }), "variance -1"},
		"key twice":        {patched(normKeys, func(b []byte) { copy(b[8:16], b[:8]) }), "entry 1 has the key of another one"},
		"value left over": {func(d description, f *safetensors.File) {
			for _, name := range []string{normMean, normVar} {
				t := f.ByName()[name]
				t.Shape, t.Data = []int{t.Shape[0] + 1}, append(t.Data, 0, 0, 0, 0)
			}
		}, "1 values of the normalisation statistics belong to no entry"},
		"channels of another layer": {moveChannel, "statistics of"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, damaged(t, c.change), c.want) })
	}
}

// moveChannel takes the last channel of the first entry to the second.
func moveChannel(_ description, f *safetensors.File) {
	b := f.ByName()[normChannels].Data
	b[0]--
	b[4]++
}

// refuses checks that the file, as bytes, gives one sentence and takes little memory.
func refuses(t *testing.T, f *safetensors.File, want string) {
	t.Helper()
	var buf bytes.Buffer
	if _, err := f.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	before := allocated()
	_, err := decodeBytes(buf.Bytes())
	if n := allocated() - before; n > 20*uint64(buf.Len()) {
		t.Errorf("%d bytes were allocated for a file of %d", n, buf.Len())
	}
	checkSentence(t, err, want)
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func checkSentence(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want %q", err, want)
	}
}

// TestEveryWeightIsChecked damages each tensor of weights in each way.
func TestEveryWeightIsChecked(t *testing.T) {
	b := smallBundle()
	for i := range b.Net.W.Params {
		p := &b.Net.W.Params[i]
		name := weightPrefix + p.Name
		vals := b.Net.W.Canonical(b.Net.W.Data, i)
		refuses(t, damaged(t, without(name)), "tensor "+name+" is missing")
		refuses(t, damaged(t, with(safetensors.NewF32(name, append([]int{1}, p.Shape...), vals))),
			fmt.Sprintf("tensor %s has shape %v and the bundle's space asks for %v", name, append([]int{1}, p.Shape...), p.Shape))
		refuses(t, damaged(t, with(safetensors.NewI32(name, p.Shape, make([]int32, len(vals))))), fmt.Sprintf("tensor %q has type I32", name))
		vals[len(vals)/2] = float32(math.Inf(-1))
		refuses(t, damaged(t, with(safetensors.NewF32(name, p.Shape, vals))), fmt.Sprintf("tensor %s holds -Inf at %d", name, len(vals)/2))
	}
}

// TestUnknownIsIgnored: fields and tensors that this version does not know are no error,
// so that a later one can add some.
func TestUnknownIsIgnored(t *testing.T) {
	f := damaged(t, func(d description, f *safetensors.File) {
		d["licence"] = "CC0"
		f.Metadata["author"] = "somebody"
		f.Tensors = append(f.Tensors, safetensors.NewF32("norm.extra", []int{1}, []float32{1}))
	})
	if _, err := Decode(f); err != nil {
		t.Error(err)
	}
}

func TestTruncatedFiles(t *testing.T) {
	raw := fileBytes(t, smallBundle(), true)
	path := filepath.Join(t.TempDir(), "net.weft")
	for i := range 50 {
		if err := os.WriteFile(path, raw[:len(raw)*i/50], 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path)
		checkSentence(t, err, path+": ")
	}
}

// TestFlippedBytes flips bits of the header. Most flips are seen; one in a text, such as
// the name of a class, cannot be. None may panic or cost much memory.
func TestFlippedBytes(t *testing.T) {
	raw := fileBytes(t, smallBundle(), true)
	header := 8 + int(binary.LittleEndian.Uint64(raw))
	step := 7
	if testing.Short() {
		step = 41
	}
	refused, flips := 0, 0
	for i := 0; i < header; i += step {
		for _, bit := range []byte{1, 0x80} {
			raw[i] ^= bit
			before := allocated()
			_, err := decodeBytes(raw)
			if n := allocated() - before; n > 40*uint64(len(raw)) {
				t.Errorf("byte %d: %d bytes were allocated for a file of %d", i, n, len(raw))
			}
			flips++
			if err != nil {
				checkSentence(t, err, "")
				refused++
			}
			raw[i] ^= bit
		}
	}
	if refused < flips/2 {
		t.Errorf("%d of %d flips were seen", refused, flips)
	}
}
