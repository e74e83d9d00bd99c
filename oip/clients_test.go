package oip_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"weft/oip"
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

// nodeClient runs a script of testdata with Node.js and @grpc/grpc-js, where
// these are installed.
func nodeClient(t *testing.T, script string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no node here")
	}
	if _, err := os.Stat("testdata/node_modules/@grpc/grpc-js"); err != nil {
		t.Skip("no @grpc/grpc-js here: npm ci --ignore-scripts --prefix oip/testdata")
	}
	cmd := exec.Command("node", append([]string{script}, args...)...)
	modules, err := filepath.Abs("testdata/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return string(out)
}

// withSimple serves the toy and Triton's test models over gRPC.
func withSimple(t *testing.T) (address string) {
	t.Helper()
	s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	return serveGRPC(t, oip.NewHandler(s, oip.Options{Models: oip.Simple()}))
}

// Node's gRPC with the protocol's definitions.
func TestNodeClient(t *testing.T) {
	out := nodeClient(t, "testdata/grpc_client.js", withSimple(t), "inference")
	want := `ready true toy -1,2,2,1 8
raw js 2 true
typed 2 0
classes of text 3
errors 3 5 4 12
stream 2,2,2
inferences 5
`
	if out != want {
		t.Errorf("printed\n%swant\n%s", out, want)
	}
}

// Triton's own example for JavaScript, unchanged (testdata/triton_client.js).
func TestTritonExample(t *testing.T) {
	dir := t.TempDir()
	for _, file := range [][2]string{
		{"testdata/triton_client.js", "client.js"},
		{"inference/grpc_service.proto", "proto/grpc_service.proto"},
		{"inference/model_config.proto", "proto/model_config.proto"},
	} {
		text, err := os.ReadFile(file[0])
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, file[1])
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(withSimple(t), ":")
	if out := nodeClient(t, filepath.Join(dir, "client.js"), host, port); !strings.HasSuffix(out, "15 + 15 = 30\n15 - 15 = 0\n") {
		t.Errorf("printed\n%s", out)
	}
}

// grpcurl needs no definitions: it asks the server by reflection.
func TestGrpcurl(t *testing.T) {
	if _, err := exec.LookPath("grpcurl"); err != nil {
		t.Skip("no grpcurl here: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4")
	}
	address := withSimple(t)
	image := func(data string) string {
		return `{"model_name":"toy","inputs":[{"name":"images","datatype":"UINT8","shape":[1,2,2,1]}],"raw_input_contents":["` + data + `"]}`
	}
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{address, "list"}, "inference.GRPCInferenceService", 0},
		{[]string{address, "describe", "inference.GRPCInferenceService"}, "rpc ModelStreamInfer", 0},
		{[]string{address, "grpc.health.v1.Health/Check"}, `"status": "SERVING"`, 0},
		{[]string{"-d", `{"name":"simple"}`, address, "inference.GRPCInferenceService/ModelMetadata"}, `"platform": "weft_simple"`, 0},
		{[]string{"-d", image("AP//AA=="), address, "inference.GRPCInferenceService/ModelInfer"}, `"AgAAAAAAAAA="`, 0},
		{[]string{"-d", image("AP//"), address, "inference.GRPCInferenceService/ModelInfer"}, "Code: InvalidArgument", 64 + 3},
		{[]string{"-d", `{"name":"none"}`, address, "inference.GRPCInferenceService/ModelReady"}, "Code: NotFound", 64 + 5},
	} {
		cmd := exec.Command("grpcurl", append([]string{"-plaintext"}, c.args...)...)
		out, _ := cmd.CombinedOutput() // the exit status is checked
		if got := cmd.ProcessState.ExitCode(); got != c.code || !strings.Contains(string(out), c.want) {
			t.Errorf("%v: exit status %d, want %d, and %q in\n%s", c.args, got, c.code, c.want, out)
		}
	}
}

// The examples of docs/grpc.md run as they stand there, but for the address.
func TestDocumentedCalls(t *testing.T) {
	if _, err := exec.LookPath("grpcurl"); err != nil {
		t.Skip("no grpcurl here: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4")
	}
	page, err := os.ReadFile("../docs/grpc.md")
	if err != nil {
		t.Fatal(err)
	}
	fashion := digits(t, linear{size: 28 * 28, classes: 10})
	fashion.Name = "fashion"
	address, _ := listenGRPC(t, fashion)
	page = bytes.ReplaceAll(page, []byte("127.0.0.1:8081 "), []byte(address+" "))
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(page, -1)
	wants := []string{`"platform": "weft_supernet"`, `"rawOutputContents"`}
	if len(blocks) != len(wants) {
		t.Fatalf("docs/grpc.md has %d examples, want %d", len(blocks), len(wants))
	}
	for i, want := range wants {
		out, err := exec.Command("sh", "-c", string(blocks[i][1])).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("example %d: %v, printed %q, want %q", i+1, err, out, want)
		}
	}
}
