// Package bus is what the machines of a cluster tell each other and must not forget: messages by subject, small values
// by key, large objects by digest.
//
// Three implementations keep the same contract, which package bustest checks on each: [Memory] within one process,
// [Embed] for a server that carries NATS with it, and [Dial] for a NATS cluster that runs elsewhere. Messages are
// lost when nobody listens; keys and objects stay. Tensors of requests do not travel here: a batch of images outgrows
// a message ([MaxMessage]).
//
// Subjects and keys are words separated by dots, such as "workers.a1.load". A word consists of the letters a-z and
// A-Z, digits, and - _ / =. Names of buckets and object stores have no dot and no / or =. All methods may be called
// from several goroutines at once.
package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// MaxMessage is the largest message or value in bytes. A server elsewhere may be set to take less.
const MaxMessage = 1 << 20

// What callers may want to tell apart; errors of this package wrap them.
var (
	ErrNotFound     = errors.New("not found")
	ErrExists       = errors.New("exists already")
	ErrConflict     = errors.New("was changed meanwhile: read it again")
	ErrNoResponder  = errors.New("nobody answers requests on this subject")
	ErrBadName      = errors.New("use words of a-z A-Z 0-9 - _ / = separated by dots")
	ErrTooLarge     = errors.New("too large for a message: use an object")
	ErrFull         = errors.New("the bus has no space left: delete something or give it more")
	ErrDamaged      = errors.New("the object is damaged: delete it and put it again")
	ErrDisconnected = errors.New("the connection to the bus is down")
	ErrClosed       = errors.New("the bus is closed")
)

// A Bus connects the machines of a cluster. A method that changes or reads what is kept tries again while the bus is
// down or moves to another server, until ctx ends.
type Bus interface {
	// Publish sends data to whoever subscribes to the subject now. It does not wait for them and, while the connection
	// is down, fails with ErrDisconnected. The caller may use data again.
	Publish(ctx context.Context, subject string, data []byte) error

	// Subscribe calls fn for each message on the subject, one at a time and those of one publisher in their order,
	// until stop. In pattern the word * stands for any one word and > at the end for one or more. Where fn falls
	// behind by thousands of messages, further ones are dropped and counted in Status.
	Subscribe(ctx context.Context, pattern string, fn func(Message)) (stop func(), err error)

	// Request publishes data and returns the first answer, or ErrNoResponder at once if nobody subscribes.
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)

	// Bucket opens a bucket of keys, which it creates or brings up to the options.
	Bucket(ctx context.Context, name string, o BucketOptions) (Bucket, error)

	// Objects opens a store of objects, which it creates if need be.
	Objects(ctx context.Context, name string) (Objects, error)

	// Status says how the connection is.
	Status() Status

	// Close ends subscriptions and watches, which may still be in a last call when it returns.
	Close() error
}

// Status is the state of a connection.
type Status struct {
	Connected  bool
	Server     string // URL of the server connected to, empty for none and in memory
	Reconnects uint64 // how often the connection came back
	Dropped    uint64 // messages lost because a subscriber was slow
}

// Message is what a subscriber gets.
type Message struct {
	Subject string
	Data    []byte // shared by the subscribers, not to be changed

	respond func(data []byte) error // nil: published without asking for an answer
}

// Respond answers a message that came by Request. Only the first answer arrives.
func (m Message) Respond(data []byte) error {
	if m.respond == nil {
		return fmt.Errorf("message on %s wants no answer: it was published, not requested", m.Subject)
	}
	return m.respond(data)
}

// BucketOptions says how a bucket keeps its values. Whoever opens a bucket gives the same options.
type BucketOptions struct {
	// TTL is how long a value stays after it was last written; 0 keeps it. A lease is a key that its owner puts
	// again before the TTL is over. At least 100 ms; values go within about a second more.
	TTL time.Duration
}

// Bucket holds the newest value of each key. Revisions grow with every change of the bucket.
type Bucket interface {
	// Get returns the value of a key, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)

	// Put sets a key, whatever it was, and returns its revision.
	Put(ctx context.Context, key string, value []byte) (uint64, error)

	// Create sets a key that is not there, else fails with ErrExists: of several callers one succeeds.
	Create(ctx context.Context, key string, value []byte) (uint64, error)

	// Update sets a key whose revision is still the one given, else fails with ErrConflict.
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)

	// Delete removes a key. It does not mind that the key is not there.
	Delete(ctx context.Context, key string) error

	// Keys returns the keys that begin with prefix, in alphabetical order.
	Keys(ctx context.Context, prefix string) ([]string, error)

	// Watch tells of the keys that begin with prefix: of each that is there, then once Current, then of each change.
	// A reader that is slow, or cut off from the bus for a while, gets the newest state of a key and not each one on
	// the way; it misses no state that lasts. The channel is closed when ctx ends or the bus is closed.
	Watch(ctx context.Context, prefix string) (<-chan Change, error)
}

// Entry is a key with its value.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
}

// ChangeKind says what a Change tells.
type ChangeKind uint8

// The kinds of changes.
const (
	Put     ChangeKind = iota // the entry is there, new or changed
	Deleted                   // the key was deleted or its time is over; the reader may not have known it
	Current                   // all that was there at the start has been told
)

var kindNames = [...]string{"put", "deleted", "current"}

// String names the kind.
func (k ChangeKind) String() string { return kindNames[k] }

// Change is what a watch tells. The entry of a Deleted has its key alone, that of Current is empty.
type Change struct {
	Kind ChangeKind
	Entry
}

// Objects keeps contents under their digest: SHA-256 in lower-case hexadecimal, 64 characters.
type Objects interface {
	// Put reads r to its end and keeps the content. Content that is there already is not kept twice.
	Put(ctx context.Context, r io.Reader) (Object, error)

	// Get returns the content, or ErrNotFound. The reader fails with ErrDamaged in place of io.EOF where what it
	// gave is not what the digest says, and ends with ctx. The caller closes it.
	Get(ctx context.Context, digest string) (io.ReadCloser, error)

	// Has says whether the content is there.
	Has(ctx context.Context, digest string) (bool, error)

	// Delete removes the content. It does not mind that there is none.
	Delete(ctx context.Context, digest string) error

	// List returns what is there, by digest in alphabetical order.
	List(ctx context.Context) ([]Object, error)
}

// Object describes a content.
type Object struct {
	Digest string
	Size   int64 // bytes
}
