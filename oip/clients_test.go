package oip_test

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"weft/serve"
)

// Triton's Python client, where it is installed, finds nothing strange.
func TestTritonClient(t *testing.T) {
	if err := exec.Command("python3", "-c", "import tritonclient.http").Run(); err != nil {
		t.Skip("python3 has no tritonclient here")
	}
	base, _, _ := listen(t, serve.Options{}, digits(t, linear{size: 28 * 28, classes: 10}))
	out, err := exec.Command("python3", "testdata/triton_client.py", strings.TrimPrefix(base, "http://")).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "answered 44\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The examples of docs/http.md run as they stand there, but for the address.
func TestDocumentedClients(t *testing.T) {
	page, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	fashion := digits(t, linear{size: 28 * 28, classes: 10})
	fashion.Name = "fashion"
	base, _, _ := listen(t, serve.Options{}, fashion)
	page = bytes.ReplaceAll(page, []byte("http://127.0.0.1:8080"), []byte(base))
	blocks := regexp.MustCompile("(?s)```(sh|python)\n(.*?)```").FindAllSubmatch(page, -1)
	// The logits of a black image are all 0, so its label is 0.
	wants := []string{"0\n", `"subnet":"large"`, "labels [0, 0] by subnet large in"}
	if len(blocks) != len(wants) {
		t.Fatalf("docs/http.md has %d examples, want %d", len(blocks), len(wants))
	}
	for i, want := range wants {
		run := exec.Command("sh", "-c", string(blocks[i][2]))
		needs := "curl"
		if string(blocks[i][1]) == "python" {
			needs = "python3"
			run = exec.Command(needs, "-c", string(blocks[i][2]))
		}
		if _, err := exec.LookPath(needs); err != nil {
			t.Logf("example %d is not run: no %s here", i+1, needs)
			continue
		}
		out, err := run.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("example %d: %v, printed %q, want %q\n%s", i+1, err, out, want, blocks[i][2])
		}
	}
}
