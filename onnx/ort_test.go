package onnx

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ortPackage returns the folder of the npm package onnxruntime-node: that which WEFT_ORT
// names, or what "make oracle" installs. Without it, or without node, the test is skipped.
func ortPackage(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("WEFT_ORT")
	if dir == "" {
		dir = filepath.Join("..", "bench", "node_modules", "onnxruntime-node")
	}
	if _, err := os.Stat(filepath.Join(dir, "package.json")); err != nil {
		t.Skip("ONNX Runtime is not there to ask: run make oracle, or set WEFT_ORT to the folder of npm's onnxruntime-node")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("ONNX Runtime needs node, which is not installed")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// ortJob is a network for ONNX Runtime to run on an input of a shape.
type ortJob struct {
	model []byte
	input []float32
	shape []int
}

// ortRun returns what ONNX Runtime makes of every job.
func ortRun(t *testing.T, jobs []ortJob) [][]float32 {
	t.Helper()
	pkg, dir := ortPackage(t), t.TempDir()
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	paths := make([]map[string]any, len(jobs))
	for i, j := range jobs {
		name := filepath.Join(dir, "job")
		name += string(rune('a'+i/26)) + string(rune('a'+i%26))
		paths[i] = map[string]any{"model": name + ".onnx", "input": name + ".in", "shape": j.shape, "output": name + ".out"}
		writeFile(t, name+".onnx", j.model)
		writeFile(t, name+".in", floatBytes(j.input))
		if err := enc.Encode(paths[i]); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("node", filepath.Join("testdata", "ort.js"), pkg)
	cmd.Stdin, cmd.Stderr = &lines, os.Stderr
	said, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(strings.TrimSpace(string(said)), "\n")
	out := make([][]float32, len(jobs))
	for i := range jobs {
		if i >= len(answers) || answers[i] != "ok" {
			t.Fatalf("ONNX Runtime on job %d: %v", i, answers[min(i, len(answers)-1)])
		}
		raw, err := os.ReadFile(paths[i]["output"].(string))
		if err != nil {
			t.Fatal(err)
		}
		out[i] = bytesFloats(raw)
	}
	return out
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func floatBytes(v []float32) []byte {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return raw
}

func bytesFloats(raw []byte) []float32 {
	v := make([]float32, len(raw)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return v
}

// difference is the largest |a−b| over the largest |b|.
func difference(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var diff, scale float64
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if d != d {
			return math.Inf(1)
		}
		diff, scale = max(diff, d), max(scale, math.Abs(float64(b[i])))
	}
	return diff / scale
}
