package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestCommitted generates everything anew and compares it with what package kernel has.
func TestCommitted(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "peak"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := generate(dir); err != nil {
		t.Fatal(err)
	}
	for name := range files {
		for _, end := range []string{"_amd64.s", "_stub_amd64.go"} {
			want, err := os.ReadFile(filepath.Join(dir, name+end))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join("..", name+end))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s%s is not what the generator writes: run go -C kernel/_gen run .", name, end)
			}
		}
	}
}
