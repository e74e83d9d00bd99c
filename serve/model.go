package serve

import (
	"errors"
	"fmt"

	"weft/sched"
)

// Executor runs batches of one model on one worker. It is not safe for
// concurrent use; each worker has its own.
type Executor interface {
	// Run runs n images on subnet s, an index of Model.Profile.Subnets, and
	// writes n*Classes logits. images: [n][H*W*C], pixel/255 (the executor
	// normalises); it must not be changed. Both slices are the worker's and
	// must not be kept. An error or a panic fails this batch only; see ErrWorkerLost.
	Run(s int, images []float32, n int, logits []float32) error
}

// Model is what a Server needs to know to serve a supernet.
type Model struct {
	Name       string
	Version    string   // "" means "1"
	Digest     string   // of the bundle that it came from; "": it came from none
	H, W, C    int      // of an image
	Classes    int      // logits per image
	ClassNames []string // empty, or one per class
	// Profile holds the subnets, their accuracies and latencies, and MaxBatch.
	Profile *sched.Profile
	// Executors run the model on the server's workers, the i-th on worker i, which
	// other models may run on too. There may be none: requests then wait for a
	// worker to join (Server.Attach).
	Executors []Executor
	// Close, if not nil, is called once no executor runs any more, to release
	// what they use.
	Close func()
}

// ImageSize returns the number of values in an image.
func (m *Model) ImageSize() int { return m.H * m.W * m.C }

func (m *Model) validate() error {
	if m.Version == "" {
		m.Version = "1"
	}
	switch {
	case m.Name == "":
		return errors.New("a model has no name: give it one")
	case m.H < 1 || m.W < 1 || m.C < 1:
		return fmt.Errorf("model %s has images of %dx%dx%d: every side must be at least 1", m.Name, m.H, m.W, m.C)
	case m.Classes < 1:
		return fmt.Errorf("model %s has %d classes: it needs at least 1", m.Name, m.Classes)
	case len(m.ClassNames) != 0 && len(m.ClassNames) != m.Classes:
		return fmt.Errorf("model %s has %d classes and %d names: name all or none", m.Name, m.Classes, len(m.ClassNames))
	case m.Profile == nil:
		return fmt.Errorf("model %s has no profile: profile it first", m.Name)
	}
	return nil
}
