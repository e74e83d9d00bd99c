// Package machine tells what a measurement was made on and whether anything else was
// running meanwhile. It reads /proc, so it is for Linux.
package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Info describes the machine.
type Info struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	OS     string `json:"os"`
	Kernel string `json:"kernel"`
}

// Describe reads the machine's description.
func Describe() Info {
	i := Info{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, CPU: runtime.GOARCH}
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		i.CPU = cpuName(string(raw))
	}
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		i.Kernel = strings.TrimSpace(string(raw))
	}
	return i
}

// cpuName returns the model's name with family, model and stepping, since the name alone
// often hides the generation on virtual machines.
func cpuName(cpuinfo string) string {
	f := map[string]string{}
	for line := range strings.Lines(cpuinfo) {
		k, v, _ := strings.Cut(line, ":")
		if k = strings.TrimSpace(k); k != "" && f[k] == "" {
			f[k] = strings.TrimSpace(v)
		}
	}
	if f["model name"] == "" {
		return runtime.GOARCH
	}
	name := f["model name"]
	if f["cpu family"] != "" {
		name += fmt.Sprintf(" (family %s model %s stepping %s)", f["cpu family"], f["model"], f["stepping"])
	}
	return name
}

// LoadAverage returns the system's load averages as the system writes them.
func LoadAverage() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(raw))[:3], " ")
}

// tick is the unit of processor times in /proc; it has been 1/100 s on every Linux.
const tick = 10 * time.Millisecond

// Usage is how much processor time was used since the system started.
type Usage struct {
	At   time.Time
	All  time.Duration // by everybody, with what the hypervisor gave to others
	Ours time.Duration // by the watched processes
}

// Sample reads the usage of the machine and of the processes with the given ids.
func Sample(now time.Time, pids ...int) (Usage, error) {
	u := Usage{At: now}
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, err
	}
	if u.All, err = busy(string(raw)); err != nil {
		return u, err
	}
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return u, err
		}
		t, err := processTime(raw)
		if err != nil {
			return u, err
		}
		u.Ours += t
	}
	return u, nil
}

// Others returns how many cores all other processes and the hypervisor used on average
// between two samples, 0 to the number of cores.
func (u Usage) Others(before Usage) float64 {
	wall := u.At.Sub(before.At)
	if wall <= 0 {
		return 0
	}
	other := (u.All - before.All) - (u.Ours - before.Ours)
	return max(0, float64(other)/float64(wall))
}

// busy adds up the first line of /proc/stat without idle and iowait: user, nice, system,
// irq, softirq and steal (proc(5)).
func busy(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	return ticks(f[1], f[2], f[3], f[6], f[7], f[8])
}

// processTime returns utime + stime of a /proc/PID/stat.
func processTime(stat []byte) (time.Duration, error) {
	i := bytes.LastIndexByte(stat, ')') // the name before it may hold blanks
	f := strings.Fields(string(stat[i+1:]))
	if i < 0 || len(f) < 13 {
		return 0, fmt.Errorf("process status reads %.60q", stat)
	}
	return ticks(f[11], f[12])
}

func ticks(fields ...string) (time.Duration, error) {
	var sum time.Duration
	for _, s := range fields {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// Settle waits until every thread of a process sleeps, at most so long: those of some
// engines look for work long after a run.
func Settle(pid int, most time.Duration, sleep func(time.Duration)) error {
	const step = time.Millisecond
	calm := 0
	for waited := time.Duration(0); waited < most && calm < 2; waited += step {
		sleep(step)
		running, err := running(pid)
		if err != nil {
			return err
		}
		if calm++; running {
			calm = 0
		}
	}
	return nil
}

// running reports whether a thread of a process runs or is ready to. Times of threads
// would not do: the system brings them up to date only every few milliseconds.
func running(pid int) (bool, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, err
	}
	if len(files) == 0 {
		return false, fmt.Errorf("process %d is gone", pid)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			return false, err
		}
		if i := bytes.LastIndexByte(raw, ')'); i >= 0 && bytes.HasPrefix(raw[i:], []byte(") R")) {
			return true, nil
		}
	}
	return false, nil
}

// Resident returns the bytes of memory that a process holds now.
func Resident(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return resident(string(raw))
}

func resident(status string) (int64, error) {
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process status has no VmRSS")
}
