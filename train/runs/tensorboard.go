package runs

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"weft/atomicfile"
	"weft/train"
)

// eventsFile is the name of the file for TensorBoard in a run's folder. TensorBoard reads every file whose name has
// "tfevents" in it; one of a fixed name is replaced instead of read twice.
const eventsFile = "events.out.tfevents.weft"

// Events is a file for TensorBoard (tensorboard --logdir DIR) that grows with a run: the metrics as scalars and the
// settings as text. It holds what metrics.jsonl holds, so that it can be written again from that.
type Events struct {
	f     *os.File
	start time.Time
	buf   []byte
}

// OpenEvents writes the file of the run in dir as far as the run has come, whole or not at all, and opens it for the
// metrics that follow.
func OpenEvents(dir string) (*Events, error) {
	r, err := Open(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, eventsFile)
	if err := atomicfile.Write(path, r.WriteEvents); err != nil {
		return nil, fmt.Errorf("write the events for TensorBoard: %w", err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &Events{f: f, start: r.Record.Started}, nil
}

// Write appends one line of metrics.
func (e *Events) Write(m train.Metrics) error {
	e.buf = appendRecord(e.buf[:0], scalars(m, e.start))
	_, err := e.f.Write(e.buf)
	return err
}

// Close closes the file.
func (e *Events) Close() error { return e.f.Close() }

// WriteEvents writes the run for TensorBoard.
func (r *Run) WriteEvents(w io.Writer) error {
	settings, err := json.MarshalIndent(r.Config, "    ", "  ") // indented: a block of code in Markdown
	if err != nil {
		return err
	}
	b := appendRecord(nil, version(r.Record.Started))
	b = appendRecord(b, text("config", "    "+string(settings), r.Record.Started))
	for _, m := range r.Metrics {
		b = appendRecord(b, scalars(m, r.Record.Started))
	}
	_, err = w.Write(b)
	return err
}

// The fields of tensorflow.Event and of what is in it (event.proto, summary.proto, tensor.proto).
const (
	eventWallTime    = 1 // double, seconds since 1970
	eventStep        = 2 // int64
	eventFileVersion = 3 // string
	eventSummary     = 5 // Summary

	summaryValue = 1 // repeated Value

	valueTag      = 1 // string
	valueScalar   = 2 // float
	valueTensor   = 8 // TensorProto
	valueMetadata = 9 // SummaryMetadata

	metadataPlugin = 1 // PluginData
	pluginName     = 1 // string

	tensorType    = 1 // DataType
	tensorShape   = 2 // TensorShapeProto
	tensorStrings = 8 // repeated bytes
	shapeDim      = 2 // repeated Dim
	dimSize       = 1 // int64
	typeString    = 7 // DT_STRING
)

func version(at time.Time) []byte {
	b := event(at, 0)
	b = protowire.AppendTag(b, eventFileVersion, protowire.BytesType)
	return protowire.AppendString(b, "brain.Event:2")
}

// event begins an Event.
func event(at time.Time, step int) []byte {
	seconds := 0.
	if !at.IsZero() {
		seconds = float64(at.UnixMicro()) / 1e6
	}
	b := protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(seconds))
	if step == 0 {
		return b
	}
	b = protowire.AppendTag(b, eventStep, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(step))
}

// scalars is the event of one line of metrics. What the line does not tell is left out.
func scalars(m train.Metrics, start time.Time) []byte {
	if !start.IsZero() {
		start = start.Add(time.Duration(m.Seconds * float64(time.Second)))
	}
	var summary []byte
	add := func(tag string, v float64) { summary = message(summary, summaryValue, scalar(tag, v)) }
	if m.Loss != 0 {
		add("loss/max", m.Loss)
	}
	if m.SubLoss != 0 {
		add("loss/subnets", m.SubLoss)
	}
	add("schedule/learning rate", m.LR)
	add("schedule/beta", m.Beta)
	if m.ImagesPS != 0 {
		add("speed/images per second", m.ImagesPS)
		add("speed/GF per second", m.GFlops)
	}
	add("cost/flops", m.Flops)
	add("cost/seconds", m.Seconds)
	for name, e := range named(m.Eval) {
		add("accuracy/"+name, e.Accuracy)
	}
	return message(event(start, m.Step), eventSummary, summary)
}

func scalar(tag string, v float64) []byte {
	b := protowire.AppendTag(nil, valueTag, protowire.BytesType)
	b = protowire.AppendString(b, tag)
	b = protowire.AppendTag(b, valueScalar, protowire.Fixed32Type)
	return protowire.AppendFixed32(b, math.Float32bits(float32(v)))
}

// text is an event with Markdown for TensorBoard's text plugin.
func text(tag, markdown string, at time.Time) []byte {
	plugin := protowire.AppendString(protowire.AppendTag(nil, pluginName, protowire.BytesType), "text")
	dim := protowire.AppendVarint(protowire.AppendTag(nil, dimSize, protowire.VarintType), 1)
	tensor := protowire.AppendVarint(protowire.AppendTag(nil, tensorType, protowire.VarintType), typeString)
	tensor = message(tensor, tensorShape, message(nil, shapeDim, dim))
	tensor = message(tensor, tensorStrings, []byte(markdown))
	value := protowire.AppendString(protowire.AppendTag(nil, valueTag, protowire.BytesType), tag)
	value = message(value, valueTensor, tensor)
	value = message(value, valueMetadata, message(nil, metadataPlugin, plugin))
	return message(event(at, 0), eventSummary, message(nil, summaryValue, value))
}

// message appends a field that holds a message or bytes.
func message(b []byte, field protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), content)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends data as a record of a TFRecord file: its length in eight bytes, the masked checksum of these, the
// data, and its masked checksum.
func appendRecord(b, data []byte) []byte {
	at := len(b)
	b = slices.Grow(b, len(data)+16)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, masked(b[at:]))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, masked(data))
}

// masked is the CRC-32C that TFRecord stores: rotated right by 15 bits, plus a constant, so that a checksum of data that
// holds checksums stays a good one (tsl/lib/hash/crc32c.h).
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return c>>15 | c<<17 + 0xa282ead8
}
