package validate

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers/externalscaler"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	core "k8s.io/api/core/v1"
)

func newReader(raw []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(raw)) }

// image is a folder with nothing in it but what the Dockerfile puts into the image, and what pods mount there.
type image struct{ root string }

// build runs the Dockerfile's own build line.
func build(t *testing.T) *image {
	t.Helper()
	dockerfile, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*) -o /weft (\S+)$`).FindSubmatch(dockerfile)
	if line == nil {
		t.Fatal("the Dockerfile does not build weft")
	}
	im := &image{t.TempDir()}
	if err := os.Chmod(filepath.Dir(im.root), 0o755); err != nil {
		t.Fatal(err)
	}
	command := fmt.Sprintf("%s -o %s/weft %s", line[1], im.root, line[2])
	c := exec.Command("sh", "-c", command)
	c.Dir = "../.."
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	for _, dir := range []string{"cache", "state", "bus", "mnt/models"} {
		if err := os.MkdirAll(filepath.Join(im.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"cache", "state"} {
		if err := os.Chmod(filepath.Join(im.root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return im
}

// start runs weft in the image as the pods' user and returns what ends it: SIGTERM, and the exit status.
func (im *image) start(t *testing.T, args ...string) (stop func() error) {
	t.Helper()
	c := exec.Command("/weft", args...)
	c.Env = []string{"HOME=/cache", "XDG_CACHE_HOME=/cache"}
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: im.root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	if err := c.Start(); err != nil {
		t.Skipf("no process in a folder of its own: %v", err)
	}
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		timer := time.AfterFunc(15*time.Second, func() { c.Process.Kill() })
		defer timer.Stop()
		return c.Wait()
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("weft %v: %v", args, err)
		}
		if t.Failed() {
			t.Logf("weft %v:\n%s", args, output.String())
		}
	})
	return stop
}

// freePort returns a port that nobody listens on just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// answers waits until a URL gives that status.
func answers(t *testing.T, url string, status int) {
	t.Helper()
	got := "nothing"
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			got = err.Error()
			continue
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if got = resp.Status; resp.StatusCode == status {
			return
		}
	}
	t.Fatalf("%s gives %s, want %d", url, got, status)
}

// with replaces parts of arguments, all of which must be there.
func with(t *testing.T, args []string, replace map[string]string) []string {
	t.Helper()
	text := strings.Join(args, "\x00")
	for old, by := range replace {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in %q", old, args)
		}
		text = strings.ReplaceAll(text, old, by)
	}
	return strings.Split(text, "\x00")
}

// The server's pod, as a process: its probes are answered, and SIGTERM ends it well.
func TestServerRuns(t *testing.T) {
	im := build(t)
	c := pods(t, "../kubernetes/server.yaml")["weft"].Spec.Containers[0]
	port, other := freePort(t), freePort(t)
	stop := im.start(t, with(t, c.Args, map[string]string{"0.0.0.0:8080": "127.0.0.1:" + port, "0.0.0.0:8081": "127.0.0.1:" + other})...)
	for _, p := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		answers(t, "http://127.0.0.1:"+port+p.HTTPGet.Path, http.StatusOK)
	}
	monitored := objects(t, "../kubernetes/servicemonitor.yaml")[0].(*monitor)
	answers(t, "http://127.0.0.1:"+port+monitored.Spec.Endpoints[0].Path, http.StatusOK)
	if err := stop(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// KServe's container, on a model that it can't write beside.
func TestRuntimeRuns(t *testing.T) {
	im := build(t)
	runtime := objects(t, "../kserve/runtime.yaml")[0].(*servingRuntime)
	model, err := os.ReadFile("../../bundle/builtin/fashion.weft")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(im.root, "mnt/models/model.weft"), model, 0o444); err != nil {
		t.Fatal(err)
	}
	c := runtime.Spec.Containers[0]
	port := freePort(t)
	im.start(t, with(t, c.Args, map[string]string{"0.0.0.0:8080": "127.0.0.1:" + port})...)
	for _, p := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		answers(t, "http://127.0.0.1:"+port+p.HTTPGet.Path, http.StatusOK)
	}
	answers(t, "http://127.0.0.1:"+port+"/v2/models/fashion/ready", http.StatusOK)
}

// Router and worker find each other by their pods' arguments, and KEDA's own client gets the demand by the metadata of
// the ScaledObject.
func TestClusterRuns(t *testing.T) {
	im := build(t)
	if err := os.WriteFile(filepath.Join(im.root, "bus/token"), []byte("0123456789abcdef\n"), 0o444); err != nil {
		t.Fatal(err)
	}
	all := pods(t, "../kubernetes/cluster.yaml")
	router, worker := all["weft-router"].Spec.Containers[0], all["weft-worker"].Spec.Containers[0]
	http8080, grpc8081, bus := freePort(t), freePort(t), freePort(t)
	im.start(t, with(t, router.Args, map[string]string{
		"0.0.0.0:8080": "127.0.0.1:" + http8080, "0.0.0.0:8081": "127.0.0.1:" + grpc8081, ":4222": ":" + bus,
	})...)
	im.start(t, with(t, worker.Args, map[string]string{
		"weft-bus:4222": "127.0.0.1:" + bus, "$(POD_IP)": "127.0.0.1", "$(POD_NAME)": "weft-worker-abc", ":7070": ":" + freePort(t),
	})...)
	answers(t, "http://127.0.0.1:"+http8080+router.ReadinessProbe.HTTPGet.Path, http.StatusOK)

	conn, err := grpc.NewClient("127.0.0.1:"+grpc8081, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	scaled := objects(t, "../keda/workers.yaml")[0].(*keda.ScaledObject)
	o := &externalscaler.ScaledObjectRef{Name: scaled.Name, Namespace: "default", ScalerMetadata: scaled.Spec.Triggers[0].Metadata}
	client := externalscaler.NewExternalScalerClient(conn)
	spec, err := client.GetMetricSpec(ctx, o)
	if err != nil || spec.MetricSpecs[0].TargetSizeFloat != 800 || spec.MetricSpecs[0].TargetSize != 800 {
		t.Fatalf("KEDA's target: %v, %v", spec, err)
	}
	m, err := client.GetMetrics(ctx, &externalscaler.GetMetricsRequest{ScaledObjectRef: o, MetricName: spec.MetricSpecs[0].MetricName})
	if err != nil || m.MetricValues[0].MetricValueFloat != 0 {
		t.Errorf("demand without requests: %v, %v", m, err)
	}
	active, err := client.IsActive(ctx, o)
	if err != nil || active.Result {
		t.Errorf("active without requests: %v, %v", active, err)
	}
}

// The flags of the services and of the image are those of the program.
func TestFlags(t *testing.T) {
	im := build(t)
	lines := map[string]string{}
	for _, file := range []string{"../systemd/weft.service", "../systemd/weft-worker.service", "../Dockerfile"} {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^(ExecStart=\S+|CMD) (.*)$`).FindSubmatch(raw)
		if found == nil {
			t.Fatalf("%s starts nothing", file)
		}
		lines[file] = strings.NewReplacer(`"`, "", ",", "", "[", "", "]", "").Replace(string(found[2]))
	}
	for file, line := range lines {
		words := strings.Fields(line)
		help, err := exec.Command(filepath.Join(im.root, "weft"), words[0], "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range words {
			if strings.HasPrefix(w, "--") && !strings.Contains(string(help), " "+w+" ") {
				t.Errorf("%s: weft %s has no flag %s", file, words[0], w)
			}
		}
	}
}

func TestServicesVerify(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	for _, file := range []string{"weft.service", "weft-worker.service"} {
		raw, err := os.ReadFile(filepath.Join("../systemd", file))
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), file) // with a program that is there
		raw = bytes.ReplaceAll(raw, []byte("/usr/local/bin/weft"), []byte("/bin/true"))
		if err := os.WriteFile(copied, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(analyze, "verify", "--man=no", copied).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}
