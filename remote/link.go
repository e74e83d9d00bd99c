package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"weft/remote/wire"
)

// Why a link ended, or a batch on it.
var (
	errSilent  = errors.New("the worker fell silent")
	errOverdue = errors.New("the batch is overdue")
	errGone    = errors.New("the worker is not needed any more")
)

// beats is how many pings there are in a lease.
const beats = 5

// link is the router's end of a stream to one slot of a worker. It runs one batch at a time.
type link struct {
	stream grpc.BidiStreamingClient[wire.Frame, wire.Frame]
	ctx    context.Context // of the stream; its cause says why it ended
	end    context.CancelCauseFunc
	begun  time.Time
	silent time.Duration // after so long the worker is given up
	lease  *time.Timer   // ends the link then
	due    atomic.Int64  // when it does, in ns since begun

	sending sync.Mutex // held while a frame is sent
	out     frame      // the batch that is sent, guarded by sending

	mu       sync.Mutex // guards what follows
	batch    uint64     // number of the latest batch
	waits    bool       // somebody waits for its result
	logits   []float32  // where that goes
	sent     time.Time
	expected time.Duration // what it was to take
	speed    float64       // by how much batches take longer than expected of late, at least 1

	timer   *time.Timer   // of the one who waits
	done    chan error    // gets the result that is waited for
	back    chan struct{} // gets a value when the result comes that nobody waits for any more
	held    chan error    // gets the answers to MODEL
	leaving chan struct{} // gets a value when the worker takes no batch any more
}

// newLink asks for the slot and waits until it is the router's. The link lasts until ctx
// ends, the worker falls silent, or close is called.
func newLink(ctx context.Context, conn *grpc.ClientConn, open *wire.Open) (*link, error) {
	ctx, end := context.WithCancelCause(ctx)
	l := &link{
		ctx: ctx, end: end, begun: time.Now(), silent: time.Duration(open.LeaseMs) * time.Millisecond, speed: 1,
		timer: time.NewTimer(time.Hour), done: make(chan error, 1), back: make(chan struct{}, 1),
		held: make(chan error, 1), leaving: make(chan struct{}, 1),
	}
	l.lease = time.AfterFunc(time.Hour, l.expire)
	l.renew(l.silent)
	if err := l.open(conn, open); err != nil {
		err = l.why(err)
		l.close(err)
		return nil, err
	}
	go l.receive()
	go l.ping()
	return l, nil
}

func (l *link) open(conn *grpc.ClientConn, open *wire.Open) (err error) {
	if l.stream, err = wire.NewWorkerClient(conn).Work(l.ctx); err != nil {
		return err
	}
	err = l.send(&frame{Frame: wire.Frame{Kind: wire.Kind_OPEN, Open: open}})
	if err != nil && !errors.Is(err, io.EOF) { // after EOF the worker says why
		return err
	}
	var in frame
	defer in.free()
	if err = l.stream.RecvMsg(&in); err != nil {
		return err
	}
	if in.Kind != wire.Kind_READY {
		return fmt.Errorf("the worker answers %v to OPEN: it is of another version", in.Kind)
	}
	return nil
}

// renew has the link last for so long unless it is renewed.
func (l *link) renew(d time.Duration) {
	l.due.Store(int64(time.Since(l.begun) + d))
	l.lease.Reset(d)
}

// expire ends the link, unless this process is late itself: then what the worker said may
// wait to be read.
func (l *link) expire() {
	if late := time.Since(l.begun) - time.Duration(l.due.Load()); late > l.silent/beats {
		l.renew(l.silent / beats)
		return
	}
	l.end(errSilent)
}

// why returns the reason for which the link ended, or err if it has not.
func (l *link) why(err error) error {
	if cause := context.Cause(l.ctx); cause != nil {
		return cause
	}
	return err
}

// close ends the link. Whoever waits for a batch learns that the worker is lost.
func (l *link) close(why error) {
	l.lease.Stop()
	l.end(why)
}

// send sends a frame. While the worker reads nothing it may block until the link ends.
func (l *link) send(f *frame) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	return l.stream.SendMsg(f)
}

// ping asks for a sign of life again and again until the link ends.
func (l *link) ping() {
	tick := time.NewTicker(l.silent / beats)
	defer tick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
		if l.send(&frame{Frame: wire.Frame{Kind: wire.Kind_PING}}) != nil {
			return // receive learns why
		}
	}
}

// receive takes what the worker says until the link ends.
func (l *link) receive() {
	var in frame
	for {
		if err := l.stream.RecvMsg(&in); err != nil {
			l.close(err)
			return
		}
		l.renew(l.silent)
		switch in.Kind {
		case wire.Kind_RESULT:
			l.result(&in)
		case wire.Kind_HELD:
			select {
			case l.held <- in.failure():
			default: // nobody asked
			}
		case wire.Kind_LEAVE:
			notify(l.leaving)
		}
		in.free()
	}
}

// notify puts a value into a channel that has room for one, unless it is there already.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// name tells the worker of a model by its number, and returns why the worker does not run it.
func (l *link) name(number int, m *wire.Model) error {
	if err := l.send(&frame{Frame: wire.Frame{Kind: wire.Kind_MODEL, Model: uint32(number), Named: m}}); err != nil {
		return l.why(err)
	}
	select {
	case err := <-l.held:
		return err
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}

// run runs a batch of n images, which is expected to take so long without the way there and
// back. An error that is not a failure of the batch says why the worker is taken for lost.
func (l *link) run(model, subnet, n int, images, logits []float32, expected time.Duration) (failed, lost error) {
	id, patience := l.expect(logits, expected, 4*len(images))
	due := time.Now().Add(patience)
	l.timer.Reset(patience)
	defer l.timer.Stop()
	if err := l.sendRun(id, model, subnet, n, images); err != nil {
		lost = l.why(err)
	}
	for lost == nil {
		select {
		case failed = <-l.done:
			return failed, nil
		case <-l.timer.C:
			if time.Since(due) < allowance/2 {
				lost = errOverdue
			} else { // this process is late itself: the result may wait to be read
				due = time.Now().Add(allowance)
				l.timer.Reset(allowance)
			}
		case <-l.ctx.Done():
			lost = context.Cause(l.ctx)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.waits { // the result came at the same time
		return <-l.done, nil
	}
	l.waits, l.logits = false, nil
	return nil, lost
}

// expect prepares for a result, and returns for how long to wait for it.
func (l *link) expect(logits []float32, expected time.Duration, bytes int) (id uint64, patience time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.back: // of a batch long ago
	default:
	}
	l.batch++
	l.waits, l.logits = true, logits
	l.sent, l.expected = time.Now(), expected
	return l.batch, Patience(expected, bytes, l.speed)
}

func (l *link) sendRun(id uint64, model, subnet, n int, images []float32) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	f := &l.out
	f.Kind, f.Batch, f.Model, f.Subnet, f.Images = wire.Kind_RUN, id, uint32(model), uint32(subnet), uint32(n)
	f.values = images
	err := l.stream.SendMsg(f)
	f.values = nil
	return err
}

// result hands the logits to the one who waits for them. Those of a batch that was given up
// are dropped.
func (l *link) result(in *frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if in.Batch != l.batch {
		return
	}
	l.learn(time.Since(l.sent))
	if !l.waits {
		notify(l.back)
		return
	}
	err := in.failure()
	if err == nil {
		err = in.floats(l.logits)
	}
	l.waits, l.logits = false, nil
	l.done <- err
}

// failure returns the error that the frame reports, or nil.
func (f *frame) failure() error {
	if f.Error == "" {
		return nil
	}
	return errors.New(f.Error)
}

// What Patience consists of.
const (
	factor    = 3                     // what a batch may take of what it is expected to
	allowance = 10 * time.Millisecond // for the way there and back, and what else runs there
	bandwidth = 25e6                  // bytes a second that the network has at least
	memory    = 0.2                   // weight of the latest batch in speed
)

// Patience is how long a batch is waited for before its worker is taken for lost:
//
//	10 ms + 3 · speed · expected + bytes / (25 MB/s)
//
// speed, at least 1, is by how much the worker's batches took longer than expected of late.
func Patience(expected time.Duration, bytes int, speed float64) time.Duration {
	return allowance + time.Duration(factor*speed*float64(expected)+float64(bytes)/bandwidth*float64(time.Second))
}

// learn takes the time of a batch into speed. One that hung counts as twice as slow as usual.
func (l *link) learn(took time.Duration) {
	ratio := min(float64(took)/float64(max(l.expected, time.Millisecond)), 2*l.speed)
	l.speed = max(1, l.speed+memory*(ratio-l.speed))
}
