package guard

import (
	"math"
	"sync/atomic"
	"time"
)

// limiter holds a client to its rate and to so many requests at a time. It
// takes no lock and does the same for every request, whatever came before.
//
// The rate is that of a token bucket in the form of the generic cell rate
// algorithm (ITU-T I.371, virtual scheduling): all that is kept is the time at
// which the bucket will be full, which a request puts off by the time that a
// token takes to come.
type limiter struct {
	interval   time.Duration // for a token to come; 0: no limit
	depth      time.Duration // what the others of a full bucket take
	bucket     *bucket
	concurrent int64         // 0: no limit
	running    *atomic.Int64 // requests under way
}

// bucket is what is used up of a rate.
type bucket struct {
	epoch time.Time
	full  atomic.Int64 // when it will be full, in nanoseconds from the epoch
}

// busyRetry is when to come back for a place among the requests under way: how
// long these take is not known here.
const busyRetry = 100 * time.Millisecond

func newLimiter(k Key, now time.Time) limiter {
	l := limiter{bucket: &bucket{epoch: now}, concurrent: int64(k.Concurrent), running: new(atomic.Int64)}
	if k.Rate > 0 {
		burst := k.Burst
		if burst == 0 {
			burst = int(min(max(k.Rate, 1), maxBurst))
		}
		l.interval = time.Duration(math.Ceil(float64(time.Second) / k.Rate))
		l.depth = time.Duration(burst-1) * l.interval
	}
	return l
}

// take goes on where the limiter before is: its requests under way stay so, and
// so does what is used up of a rate that has not changed.
func (l *limiter) take(before *limiter) {
	l.running = before.running
	if l.interval == before.interval && l.depth == before.depth {
		l.bucket = before.bucket
	}
}

// Enter takes a place for a request, to be given back by Leave. Else the error
// is ErrRate or ErrBusy and retry says when to come back.
func (c *Client) Enter(now time.Time) (retry time.Duration, err error) {
	if c == nil {
		return 0, nil
	}
	if n := c.running.Add(1); c.concurrent > 0 && n > c.concurrent {
		c.running.Add(-1)
		return busyRetry, ErrBusy
	}
	if wait := c.token(now); wait > 0 {
		c.running.Add(-1)
		return wait, ErrRate
	}
	return 0, nil
}

// Leave gives a place back.
func (c *Client) Leave() {
	if c != nil {
		c.running.Add(-1)
	}
}

// token takes a token, or returns the time until there is one.
func (l *limiter) token(now time.Time) time.Duration {
	if l.interval == 0 {
		return 0
	}
	at := int64(now.Sub(l.bucket.epoch))
	for {
		before := l.bucket.full.Load()
		full := max(before, at)
		if wait := full - at - int64(l.depth); wait > 0 {
			return time.Duration(wait)
		}
		if l.bucket.full.CompareAndSwap(before, full+int64(l.interval)) {
			return 0
		}
	}
}
