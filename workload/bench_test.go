//go:build unix

package workload_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"weft/workload"
)

// BenchmarkGenerator reports by how much requests are sent late, and the
// processor time that sending takes, at 1000 and 5000 a second of real time.
func BenchmarkGenerator(b *testing.B) {
	for _, spec := range []string{"poisson:1000,for=1s", "bursty:base=1500,var=3500,cv2=8,for=1s"} {
		b.Run(spec, func(b *testing.B) {
			trace, err := workload.Parse(spec, 1)
			if err != nil {
				b.Fatal(err)
			}
			var s workload.Summary
			before := cpuTime(b)
			for b.Loop() {
				outcomes, err := workload.Run(b.Context(), workload.Config{
					Arrivals: trace.Arrivals, SLO: 50 * ms,
					Sender: senderFunc(func(context.Context, int, time.Duration) (workload.Reply, error) {
						time.Sleep(5 * ms)
						return workload.Reply{}, nil
					}),
				})
				if err != nil {
					b.Fatal(err)
				}
				s = workload.Account(outcomes, 0)
			}
			b.ReportMetric(s.LagMS.P50*1000, "lag-p50-µs")
			b.ReportMetric(s.LagMS.P99*1000, "lag-p99-µs")
			b.ReportMetric(100*float64(cpuTime(b)-before)/float64(b.Elapsed()), "%cpu")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
