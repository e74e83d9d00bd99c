package runs_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"weft/train/runs"
)

// schema is what TensorBoard reads of event.proto, summary.proto, tensor.proto and tensor_shape.proto.
const schema = `
name: "event.proto" package: "tensorflow" syntax: "proto3"
message_type { name: "Event"
  field { name: "wall_time" number: 1 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
  field { name: "step" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
  field { name: "file_version" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "summary" number: 5 type: TYPE_MESSAGE type_name: ".tensorflow.Summary" label: LABEL_OPTIONAL } }
message_type { name: "Summary"
  field { name: "value" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.Value" label: LABEL_REPEATED } }
message_type { name: "Value"
  field { name: "tag" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "simple_value" number: 2 type: TYPE_FLOAT label: LABEL_OPTIONAL }
  field { name: "tensor" number: 8 type: TYPE_MESSAGE type_name: ".tensorflow.TensorProto" label: LABEL_OPTIONAL }
  field { name: "metadata" number: 9 type: TYPE_MESSAGE type_name: ".tensorflow.SummaryMetadata" label: LABEL_OPTIONAL } }
message_type { name: "SummaryMetadata"
  field { name: "plugin_data" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.PluginData" label: LABEL_OPTIONAL } }
message_type { name: "PluginData" field { name: "plugin_name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL } }
message_type { name: "TensorProto"
  field { name: "dtype" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
  field { name: "tensor_shape" number: 2 type: TYPE_MESSAGE type_name: ".tensorflow.TensorShapeProto" label: LABEL_OPTIONAL }
  field { name: "string_val" number: 8 type: TYPE_BYTES label: LABEL_REPEATED } }
message_type { name: "TensorShapeProto"
  field { name: "dim" number: 2 type: TYPE_MESSAGE type_name: ".tensorflow.Dim" label: LABEL_REPEATED } }
message_type { name: "Dim" field { name: "size" number: 1 type: TYPE_INT64 label: LABEL_OPTIONAL } }
`

// events decodes a TFRecord file of Events with Google's decoder, which fails on what the schema does not know.
func events(t *testing.T, file []byte) []*dynamicpb.Message {
	t.Helper()
	var described descriptorpb.FileDescriptorProto
	if err := prototext.Unmarshal([]byte(schema), &described); err != nil {
		t.Fatal(err)
	}
	fd, err := protodesc.NewFile(&described, nil)
	if err != nil {
		t.Fatal(err)
	}
	mask := func(b []byte) uint32 {
		c := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
		return (c>>15 | c<<17) + 0xa282ead8
	}
	var all []*dynamicpb.Message
	for len(file) > 0 {
		n := int(binary.LittleEndian.Uint64(file))
		if got := binary.LittleEndian.Uint32(file[8:]); got != mask(file[:8]) {
			t.Fatalf("record %d: checksum of the length is %x", len(all), got)
		}
		data := file[12:][:n]
		if got := binary.LittleEndian.Uint32(file[12+n:]); got != mask(data) {
			t.Fatalf("record %d: checksum of the data is %x", len(all), got)
		}
		m := dynamicpb.NewMessage(fd.Messages().ByName("Event"))
		if err := proto.Unmarshal(data, m); err != nil {
			t.Fatal(err)
		}
		if u := m.GetUnknown(); len(u) > 0 {
			t.Fatalf("record %d has unknown fields %x", len(all), u)
		}
		all = append(all, m)
		file = file[16+n:]
	}
	return all
}

func TestEventsForTensorBoard(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, config(4, 1), course...)
	if err := runs.Begin(dir, runs.Record{}, began); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := open(t, dir).WriteEvents(&b); err != nil {
		t.Fatal(err)
	}
	// Every event file of TensorFlow starts with a record of 24 bytes, whose checksum is known.
	if got, want := hex.EncodeToString(b.Bytes()[:12]), "1800000000000000a37f4b22"; got != want {
		t.Errorf("the file starts with %s: want %s", got, want)
	}
	all := events(t, b.Bytes())
	if len(all) != 2+len(course) {
		t.Fatalf("%d events: want one for the version, one for the settings and one for each of %d lines", len(all), len(course))
	}
	for i, want := range []string{`file_version:"brain.Event:2"`, `plugin_name:"text"`, `tag:"accuracy/max"`} {
		if text := strings.ReplaceAll(all[i].String(), ": ", ":"); !strings.Contains(text, want) {
			t.Errorf("event %d lacks %s: %s", i, want, text)
		}
	}
	last := all[len(all)-1]
	field := func(name string) float64 {
		v := last.Get(last.Descriptor().Fields().ByName("step")).Int()
		if name == "wall_time" {
			return last.Get(last.Descriptor().Fields().ByName("wall_time")).Float()
		}
		return float64(v)
	}
	if field("step") != 40 || field("wall_time") != float64(began.Unix()+240) {
		t.Errorf("last event at step %v, time %v", field("step"), field("wall_time"))
	}
	if got := value(last, "accuracy/min"); got != float32(0.8) {
		t.Errorf("accuracy/min is %v", got)
	}
	if got := value(last, "loss/max"); got != float32(1.1) {
		t.Errorf("loss/max is %v", got)
	}
}

// value returns the scalar of that tag, or NaN.
func value(event *dynamicpb.Message, tag string) float32 {
	fields := event.Descriptor().Fields()
	summary := event.Get(fields.ByName("summary")).Message()
	values := summary.Get(summary.Descriptor().Fields().ByName("value")).List()
	for i := range values.Len() {
		v := values.Get(i).Message()
		f := v.Descriptor().Fields()
		if v.Get(f.ByName("tag")).String() == tag {
			return float32(v.Get(f.ByName("simple_value")).Float())
		}
	}
	return float32(math.NaN())
}

// A file that grows line by line is the one that is written at once.
func TestEventsGrow(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, config(4, 1), course[:2]...)
	if err := runs.Begin(dir, runs.Record{}, began); err != nil {
		t.Fatal(err)
	}
	e, err := runs.OpenEvents(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range course[2:] {
		if err := e.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	grown, err := os.ReadFile(filepath.Join(dir, "events.out.tfevents.weft"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, config(4, 1), course[2:]...)
	var whole bytes.Buffer
	if err := open(t, dir).WriteEvents(&whole); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(grown, whole.Bytes()) {
		t.Errorf("%d bytes grew, %d are written at once, and they differ", len(grown), whole.Len())
	}
}
