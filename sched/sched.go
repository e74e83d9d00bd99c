// Package sched decides which waiting requests run next, on which worker and in
// which subnet. It is a pure state machine: no clock, goroutine, network or
// random source. Events go in with the time at which they happened, actions
// come out, and the same sequence of events always gives the same actions:
//
//	s, err := sched.New("weft", profile, sched.Options{Margin: time.Millisecond})
//	for each event {
//		for _, a := range s.Step(now, event) {
//			// start the batch, answer the dropped request, set the timer
//		}
//	}
//
// Requests wait in one global queue, earliest deadline first. Whenever a worker
// is free and something waits, a [Policy] picks subnet and batch size; the
// scheduler then picks the members, so that floors, pins and sizes are kept
// under every policy. docs/adr/0001-slackfit.md gives the reasons for the choices.
//
// Time is a time.Duration since an epoch that the caller chooses.
package sched

import (
	"fmt"
	"strings"
	"time"
)

// LatePolicy says what becomes of a request that can no longer meet its deadline.
type LatePolicy uint8

const (
	// Reject drops it at once, so that the client can act on the refusal.
	Reject LatePolicy = iota
	// Serve answers it late, by the smallest subnet that it accepts, when a
	// worker has nothing to do that can still be in time.
	Serve
)

// AnySubnet is the value of Request.Subnet that leaves the choice to the policy.
const AnySubnet = -1

// Request is what waits for an answer.
type Request struct {
	ID       uint64        // unique among the requests that wait or run
	Arrival  time.Duration // since the caller's epoch
	Deadline time.Duration // since the caller's epoch
	// Size is the number of images, 1..Profile.MaxBatch. They run in one batch.
	Size int
	// MinAccuracy is the least profiled accuracy that the request accepts (0: any).
	MinAccuracy float64
	// Subnet pins the request to that index of Profile.Subnets; AnySubnet leaves it open.
	Subnet int
	// Priority orders requests of equal deadline; the higher goes first.
	Priority int
	// Tenant is whose request it is. Under overload the tenants get fair shares; see
	// Options.Shares.
	Tenant string
	Late   LatePolicy
}

// EventKind says which fields of an Event count.
type EventKind uint8

const (
	// Tick reports nothing but the time. It answers a Wait.
	Tick EventKind = iota
	// Arrive brings Event.Request.
	Arrive
	// Cancel withdraws the request Event.ID: its client is gone.
	Cancel
	// WorkerUp reports that Event.Worker is ready for a batch of the model.
	WorkerUp
	// WorkerDown reports that Event.Worker is lost, and its batch with it. The
	// batch's requests go back to the queue.
	WorkerDown
	// WorkerLeave reports that Event.Worker wants no more batches: it is gone once it
	// has finished the one that it runs.
	WorkerLeave
	// Done reports that Event.Worker has finished the batch Event.Batch.
	Done
)

// Event is one thing that happened.
type Event struct {
	Kind    EventKind
	Request Request // Arrive
	ID      uint64  // Cancel
	Worker  int     // WorkerUp, WorkerDown, WorkerLeave, Done: a small number, 0 and up
	Batch   uint64  // Done
}

// ActionKind says which fields of an Action count.
type ActionKind uint8

const (
	// Dispatch starts a batch: Worker, Batch, Subnet, IDs, Images.
	Dispatch ActionKind = iota + 1
	// Drop ends a request without an answer: ID, Reason.
	Drop
	// Wait asks for a Tick at Until, unless a later Wait replaces it.
	Wait
)

// Reason says why a request was dropped.
type Reason uint8

const (
	// Late: it could not meet its deadline any more.
	Late Reason = iota + 1
	// Cancelled: its client withdrew it while it waited.
	Cancelled
	// Full: more waited than Options.MaxQueue or, among several tenants, than can be
	// in time, and no tenant had more waiting for its share than this one.
	Full
	// Invalid: no subnet meets its floor and pin, or its size is not in
	// 1..MaxBatch.
	Invalid
	// Lost: Options.MaxAttempts workers were lost while they ran it.
	Lost
)

// Action is one thing that the caller must do.
type Action struct {
	Kind   ActionKind
	Model  int      // Dispatch, Drop: the number of its scheduler in its group
	Worker int      // Dispatch: it was free and is now busy
	Batch  uint64   // Dispatch: to be named in Done
	Subnet int      // Dispatch: index into Profile.Subnets
	IDs    []uint64 // Dispatch: the requests, most urgent first
	Images int      // Dispatch: sum of their sizes, at most Profile.MaxBatch; 0: the worker only loads
	// Load, of a Dispatch, is the time for which the worker loads Subnet first, as
	// it holds another: Options.Load, or 0.
	Load   time.Duration
	ID     uint64        // Drop
	Reason Reason        // Drop
	Until  time.Duration // Wait
}

// Options of a Scheduler. The zero value is useful.
type Options struct {
	// Margin is taken off every slack: what passes between the decision and the
	// answer besides computing. The p99 of the measured overhead is a good value.
	Margin time.Duration
	// MaxQueue bounds the number of waiting requests (0: DefaultMaxQueue).
	MaxQueue int
	// MaxAttempts bounds how often a request is dispatched when workers are
	// lost while they run it (0: DefaultMaxAttempts).
	MaxAttempts int
	// FixedProfile takes the profile's latencies at their word. By default the
	// scheduler scales them all by how long batches take of late; see Drift.
	FixedProfile bool
	// Load is, by subnet, how long a worker takes to load it, where a worker holds
	// one subnet at a time. Nil: workers switch in place, at no cost. Policy switch
	// makes no sense without; its default is 14.1 times the latency of one image.
	Load []time.Duration
	// Shares are the tenants' weights, above 0; 1 for those that are missing. When
	// several tenants have requests waiting and not all of them can be in time,
	// no more are taken from the one that has the most work waiting for its share.
	// As work is served in the order of deadlines, equal queues mean equal service:
	// the tenants get about max-min fair shares of the workers (longest queue drop, Suter
	// et al., INFOCOM '98). Who goes first is decided by urgency alone.
	Shares map[string]float64
	// Buckets is SlackFit's number of latency buckets (0: DefaultBuckets).
	Buckets int
}

// Defaults of Options.
const (
	DefaultMaxQueue    = 1 << 16
	DefaultMaxAttempts = 3
	DefaultBuckets     = 64
)

// DefaultPolicy is the name of the policy to use when none is named.
const DefaultPolicy = "weft"

// Scheduler is the state machine of one model. It is not safe for concurrent use.
type Scheduler struct {
	group   *Group
	number  int // in the group
	profile *Profile
	policy  Policy
	opt     Options

	ready   queue // requests that may still meet their deadline
	late    queue // those that can't, but are to be served nevertheless
	byID    map[uint64]*entry
	spare   []*entry // recycled
	skipped []*entry // scratch of fill

	// Of the workers that run the model, as the group counts them.
	up, idle int
	loaded   []int // by subnet, the free workers that hold it; nil without Options.Load
	running  int   // batches of the model

	load   Load // its sums
	demand demand
	wants  float64 // scratch of share

	drift   float64
	risk    float64       // quantile of what drift averages
	learned time.Duration // when the latest batch ended
	longest time.Duration // of the profile's latencies
}

// New returns a scheduler without workers, whose model is the only one of its group.
// Its policy has the given name (see [ParsePolicy]; "" means DefaultPolicy).
func New(policy string, p *Profile, opt Options) (*Scheduler, error) {
	return NewGroup().Add(policy, p, opt)
}

func newScheduler(policy string, p *Profile, opt Options) (*Scheduler, error) {
	if opt.MaxQueue == 0 {
		opt.MaxQueue = DefaultMaxQueue
	}
	if opt.MaxAttempts == 0 {
		opt.MaxAttempts = DefaultMaxAttempts
	}
	if kind, _, _ := strings.Cut(policy, ":"); kind == "switch" && opt.Load == nil {
		opt.Load = p.loads()
	}
	if n := len(p.Subnets); opt.Load != nil && len(opt.Load) != n {
		return nil, fmt.Errorf("load times are given for %d of %d subnets: give one for each", len(opt.Load), n)
	}
	for tenant, share := range opt.Shares {
		if !(share > 0) {
			return nil, fmt.Errorf("tenant %q has a share of %v: give a number above 0", tenant, share)
		}
	}
	pol, err := ParsePolicy(policy, p, opt)
	if err != nil {
		return nil, err
	}
	s := &Scheduler{
		profile: p,
		policy:  pol,
		opt:     opt,
		ready:   newQueue(),
		late:    newQueue(),
		byID:    make(map[uint64]*entry),
		drift:   1,
		risk:    1,
	}
	if opt.Load != nil {
		s.loaded = make([]int, len(p.Subnets))
	}
	p.each(func(t tuple) { s.longest = max(s.longest, t.latency) })
	return s, nil
}

// Step takes an event that happened at now, which never decreases from call to
// call, and returns what to do about it, in order. The actions and their IDs
// belong to the scheduler and are valid until the next Step.
//
// Step panics if a request arrives whose ID waits or runs already. It ignores
// what a race between workers and the caller can produce: Done for a batch that
// the worker no longer runs, Cancel for a request that has ended, WorkerDown
// for a worker that is down. WorkerUp for a worker that runs the model already
// means that it restarted.
//
// Where other models share the workers, the actions may be theirs; see Action.Model.
func (s *Scheduler) Step(now time.Duration, ev Event) []Action {
	return s.group.Step(now, s.number, ev)
}

// Number returns the model's number in its group.
func (s *Scheduler) Number() int { return s.number }

// Policy returns the policy in use.
func (s *Scheduler) Policy() Policy { return s.policy }

// Profile returns the profile in use.
func (s *Scheduler) Profile() *Profile { return s.profile }

// Waiting returns the number of requests that wait and the sum of their images.
func (s *Scheduler) Waiting() (requests, images int) {
	return s.ready.len() + s.late.len(), s.ready.images + s.late.images
}

// Backlog returns how long what waits will keep the workers busy that the model can
// have, at the pace of late: the least that it takes, in full batches of the smallest
// subnets that are accepted. Without a worker it is that of one.
func (s *Scheduler) Backlog(now time.Duration) time.Duration {
	return time.Duration(s.drift * float64(s.ready.work+s.late.work) / s.capacity(now))
}

// Loads reports whether workers hold one subnet at a time and load others; see
// Options.Load.
func (s *Scheduler) Loads() bool { return s.loaded != nil }

// Up returns the number of workers that run the model, busy or idle.
func (s *Scheduler) Up() int { return s.up }

// Free returns the number of those that are idle.
func (s *Scheduler) Free() int { return s.idle }

// Drift returns how long batches have taken of late, as a multiple of what the
// profile says: a moving average over the latest 16 or so. It is 1 at the start
// and under Options.FixedProfile.
func (s *Scheduler) Drift() float64 { return s.drift }

// Risk returns how long batches take in a bad case, as a multiple of what the
// profile says: all but one in a hundred are done by then. It is never less than
// Drift.
func (s *Scheduler) Risk() float64 { return max(s.risk, s.drift) }
