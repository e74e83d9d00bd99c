package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/safetensors"
)

// FuzzConfig: a configuration that is read is written and read again the same, and validating it never panics.
func FuzzConfig(f *testing.F) {
	for _, recipe := range Recipes() {
		b, err := json.Marshal(Defaults(recipe, "resnet-28s", "fashion-mnist"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"recipe":"max","space":"none","epochs":-1,"lr":1e999}`))
	f.Add([]byte(`{"recipe":"bignas","zero_gamma":false}`))
	base := Defaults("bignas", "resnet-28s", "fashion-mnist")
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b, base)
		if err != nil {
			return
		}
		_ = c.Validate()
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig(text, base)
		if err != nil || !cmp.Equal(c, again) {
			t.Fatalf("%s came back as %+v, %v", text, again, err)
		}
	})
}

// FuzzRun reads any bytes as the files of a run: metrics, of which a torn last line is left out, and progress.
func FuzzRun(f *testing.F) {
	f.Add([]byte("{\"step\":1,\"epoch\":0.5,\"loss\":2}\n{\"step\":2}\n{\"ste"), `{"step":1}`)
	f.Add([]byte("\n\n{}\nnull\n"), "")
	f.Fuzz(func(t *testing.T, metrics []byte, progress string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, metricsFile), metrics, 0o600); err != nil {
			t.Fatal(err)
		}
		lines, err := ReadMetrics(dir)
		if err == nil {
			log, err := OpenLog(dir, 1<<40)
			if err != nil {
				t.Fatalf("metrics that were read are not gone on from: %v", err)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			if again, err := ReadMetrics(dir); err != nil || !cmp.Equal(lines, again) {
				t.Fatalf("%v came back as %v, %v", lines, again, err)
			}
		}
		file := safetensors.File{Metadata: map[string]string{"weft.run": progress}}
		if err := file.WriteFile(filepath.Join(dir, checkpointFile)); err != nil {
			return // not UTF-8
		}
		if _, p, err := readCheckpoint(dir); err == nil {
			_ = p.Config.Validate()
		}
	})
}
