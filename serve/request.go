package serve

import (
	"math"
	"time"

	"weft/sched"
)

// Request asks for the logits of N images of one model.
type Request struct {
	// N images in rows: either Images, [N][H*W*C] float32 pixel/255, or
	// Pixels, [N][H*W*C] bytes 0..255. The other is nil. Infer reads them in
	// place and doesn't keep them.
	N      int
	Images []float32
	Pixels []byte

	// Start is when the request began, the origin of Timeout (zero: when Infer is called).
	Start time.Time
	// Timeout is the time from Start to the deadline (0: Options.SLO).
	Timeout time.Duration
	// MinAccuracy is the least profiled accuracy that the request accepts, 0..1.
	MinAccuracy float64
	// Subnet pins the request to the subnet of that name ("": any).
	Subnet string
	// Priority orders requests of equal deadline; the higher goes first.
	Priority int
	// Tenant is whose request it is; see sched.Options.Shares.
	Tenant string
	// Late says what becomes of a request that can't meet its deadline.
	Late sched.LatePolicy
}

// MaxTimeout is the longest Timeout of a request.
const MaxTimeout = time.Minute

// Response is the answer to a Request.
type Response struct {
	Logits []float32 // [N][Classes]
	Labels []int64   // [N], the class of the largest logit, the first of equals
	Subnet string    // that answered
	// Accuracy is the profiled accuracy of Subnet.
	Accuracy float64
	// Batch is the number of images that ran together.
	Batch int
	// Queue is the time from Start until the batch began, Compute that of the batch.
	Queue, Compute time.Duration
	// DeadlineMet reports that the answer was ready in time.
	DeadlineMet bool
}

// check returns the subnet's index, or what is wrong with the request.
func (r *Router) check(req *Request) (subnet int, err error) {
	m, p := &r.model, r.model.Profile
	values := max(len(req.Images), len(req.Pixels))
	switch {
	case req.N < 1:
		return 0, Errorf(Invalid, "the request has %d images: send at least one", req.N)
	case req.N > p.MaxBatch:
		return 0, Errorf(Invalid, "the request has %d images and the model takes at most %d at a time: send it in parts", req.N, p.MaxBatch)
	case req.Images != nil && req.Pixels != nil || values != req.N*m.ImageSize():
		return 0, Errorf(Invalid, "the request has %d values for %d images of %dx%dx%d: send exactly %d", values, req.N, m.H, m.W, m.C, req.N*m.ImageSize())
	case req.Timeout < 0 || req.Timeout > MaxTimeout:
		return 0, Errorf(Invalid, "the timeout is %v: choose one of at most %v", req.Timeout, MaxTimeout)
	case !(req.MinAccuracy >= 0 && req.MinAccuracy <= 1):
		return 0, Errorf(Invalid, "the minimum accuracy is %v: give a fraction in 0..1", req.MinAccuracy)
	}
	subnet = sched.AnySubnet
	if req.Subnet != "" {
		i, ok := r.subnets[req.Subnet]
		if !ok {
			return 0, Errorf(Invalid, "subnet %q is unknown: GET /v2/models/%s/subnets lists those of model %s", req.Subnet, m.Name, m.Name)
		}
		if a := p.Subnets[i].Accuracy; a < req.MinAccuracy {
			return 0, Errorf(Invalid, "subnet %s has accuracy %.4f, below the minimum of %.4f: drop one of the two wishes", req.Subnet, a, req.MinAccuracy)
		}
		subnet = i
	}
	if best := p.Subnets[len(p.Subnets)-1].Accuracy; best < req.MinAccuracy {
		return 0, Errorf(Invalid, "no subnet has accuracy %.4f, the best has %.4f: lower the minimum", req.MinAccuracy, best)
	}
	return subnet, nil
}

// label fills Labels from Logits, or reports that a logit is not finite.
func (resp *Response) label(n, classes int) error {
	resp.Labels = resp.Labels[:0]
	for i := range n {
		row := resp.Logits[i*classes:][:classes]
		best := 0
		for j, v := range row {
			if d := v - v; d != 0 || d != d { // NaN or infinite
				return Errorf(Failed, "the model gave %v for class %d of image %d: the input or the model is damaged", v, j, i)
			}
			if v > row[best] {
				best = j
			}
		}
		resp.Labels = append(resp.Labels, int64(best))
	}
	return nil
}

// grow returns s with length n, reusing its memory when there is enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// pixelValue holds pixel/255 for every byte.
var pixelValue = func() (v [256]float32) {
	for i := range v {
		v[i] = float32(i) / math.MaxUint8
	}
	return v
}()
