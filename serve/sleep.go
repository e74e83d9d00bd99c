package serve

import (
	"math"
	"time"

	"weft/sched"
)

// SleepExecutor is a simulated executor: it takes the profiled time and
// computes nothing. The router can't tell it from a real one, so that policies
// and load can be tried with more or faster workers than the machine has.
type SleepExecutor struct {
	Profile *sched.Profile
	Classes int
	// Speed divides the profiled time (0: 1).
	Speed float64
}

var _ Executor = (*SleepExecutor)(nil)

// Run sleeps for the profiled latency. The logits of an image depend on its
// values alone: 1 for the class that their hash falls on, 0 for the rest.
func (e *SleepExecutor) Run(s int, images []float32, n int, logits []float32) error {
	start := time.Now()
	clear(logits)
	size := len(images) / n
	for i := range n {
		logits[i*e.Classes+imageHash(images[i*size:][:size])%e.Classes] = 1
	}
	took := e.Profile.Latency(s, n)
	if e.Speed > 0 {
		took = time.Duration(float64(took) / e.Speed)
	}
	time.Sleep(took - time.Since(start))
	return nil
}

// imageHash mixes the bits of up to 64 values spread over the image.
func imageHash(image []float32) int {
	const samples = 64
	h := uint64(14695981039346656037) // FNV-1a's offset and prime
	for i := 0; i < len(image); i += max(len(image)/samples, 1) {
		h = (h ^ uint64(math.Float32bits(image[i]))) * 1099511628211
	}
	return int((h ^ h>>32) & math.MaxInt32)
}
