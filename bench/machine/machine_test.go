package machine

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	name := cpuName("processor : 0\nmodel name\t: Fast 9\ncpu family : 25\nmodel : 17\nstepping : 1\n\nmodel name : Slow 1\n")
	if name != "Fast 9 (family 25 model 17 stepping 1)" {
		t.Errorf("processor %q", name)
	}
	// user nice system idle iowait irq softirq steal: all but idle and iowait count.
	if d, err := busy("cpu  1 2 3 1000 500 4 5 6 0 0\ncpu0 9 9 9 9 9 9 9 9 0 0\n"); err != nil || d != 210*time.Millisecond {
		t.Errorf("busy for %v, %v", d, err)
	}
	if d, err := processTime([]byte("7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 20 0 0\n")); err != nil || d != 310*time.Millisecond {
		t.Errorf("the process ran for %v, %v", d, err)
	}
	if b, err := resident("Name: x\nVmRSS:\t  2048 kB\nThreads: 1\n"); err != nil || b != 2<<20 {
		t.Errorf("%d bytes resident, %v", b, err)
	}
	for _, bad := range []string{"", "cpu 1 2", "intr 1 2 3 4 5 6 7 8 9"} {
		if _, err := busy(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	if _, err := processTime([]byte("7 (x) S 1")); err == nil {
		t.Error("a short process status: no error")
	}
	if _, err := resident("Name: x\n"); err == nil {
		t.Error("a status without memory: no error")
	}
}

func TestOthers(t *testing.T) {
	start := time.Unix(1000, 0)
	a := Usage{At: start, All: 10 * time.Second, Ours: 2 * time.Second}
	b := Usage{At: start.Add(2 * time.Second), All: 13 * time.Second, Ours: 4 * time.Second}
	if o := b.Others(a); o != 0.5 {
		t.Errorf("others used %v cores, want 0.5", o)
	}
	if o := a.Others(a); o != 0 {
		t.Errorf("others used %v cores in no time", o)
	}
}

func TestThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("the system tells nothing about its processes")
	}
	pid := os.Getpid()
	before, err := Sample(time.Now(), pid)
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 60*time.Millisecond; { //nolint:revive // burning time is the point
	}
	after, err := Sample(time.Now(), pid)
	if err != nil {
		t.Fatal(err)
	}
	if used := after.Ours - before.Ours; used < 20*time.Millisecond {
		t.Errorf("60 ms of work count as %v", used)
	}
	if n, err := Resident(pid); err != nil || n < 1<<20 {
		t.Errorf("%d bytes resident, %v", n, err)
	}
}

func TestSettle(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("the system tells nothing about its processes")
	}
	most := 50 * time.Millisecond
	settle := func(pid int) (waited time.Duration, err error) {
		err = Settle(pid, most, func(d time.Duration) { waited += d; time.Sleep(d) })
		return waited, err
	}
	sleeper := exec.Command("sleep", "10")
	if err := sleeper.Start(); err != nil {
		t.Skip(err)
	}
	defer sleeper.Wait()
	defer sleeper.Process.Kill()
	time.Sleep(20 * time.Millisecond) // until it sleeps
	if waited, err := settle(sleeper.Process.Pid); err != nil || waited >= most {
		t.Errorf("a process at rest settled after %v, %v", waited, err)
	}
	if waited, err := settle(os.Getpid()); err != nil || waited < most {
		t.Errorf("this process, which is running, settled after %v, %v", waited, err)
	}
	if _, err := settle(1 << 30); err == nil {
		t.Error("waiting for a process that is not there: no error")
	}
}
