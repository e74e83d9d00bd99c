package bus_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// configVariable names the configuration file that makes this program a NATS server instead of running tests.
const configVariable = "WEFT_TEST_NATS_CONFIG"

func TestMain(m *testing.M) {
	if config := os.Getenv(configVariable); config != "" {
		serveNATS(config)
		return
	}
	os.Exit(m.Run())
}

// serveNATS does what the program nats-server does with a configuration file.
func serveNATS(config string) {
	opts, err := server.ProcessConfigFile(config)
	if err != nil {
		server.PrintAndDie(err.Error())
	}
	s, err := server.NewServer(opts)
	if err != nil {
		server.PrintAndDie(err.Error())
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
}

// process is a NATS server by itself.
type process struct {
	url    string
	config string
	cmd    *exec.Cmd
}

// start runs the server, again after stop or kill, and ends it with the test.
func (p *process) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), configVariable+"="+p.config)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill() })
}

// kill ends the server as a power cut would.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// startServers runs a cluster of n servers, or one by itself, with a user "weft" and the password "secret".
func startServers(t *testing.T, n int) []*process {
	t.Helper()
	clients, routes := freePorts(t, n), freePorts(t, n)
	var peers []string
	for _, port := range routes {
		peers = append(peers, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	var all []*process
	for i := range n {
		dir := t.TempDir()
		config := fmt.Sprintf("server_name: s%d\nlisten: 127.0.0.1:%d\njetstream { store_dir: %q }\n"+
			"authorization { user: weft, password: secret }\nlog_file: %q\nmax_payload: 2MB\n",
			i, clients[i], filepath.Join(dir, "state"), filepath.Join(dir, "log"))
		if n > 1 {
			config += fmt.Sprintf("cluster { name: test, listen: 127.0.0.1:%d, routes: [%s] }\n", routes[i], strings.Join(peers, ", "))
		}
		p := &process{url: fmt.Sprintf("nats://127.0.0.1:%d", clients[i]), config: filepath.Join(dir, "nats.conf")}
		if err := os.WriteFile(p.config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		p.start(t)
		all = append(all, p)
		t.Cleanup(func() {
			if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
				t.Logf("log of %s:\n%s", p.url, log)
			}
		})
	}
	return all
}

// freePorts returns ports that nobody listens on just now.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
