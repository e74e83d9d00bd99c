// Package guard says who may do what, and how often: API keys with their
// limits, and the certificates of TLS. Both come from files that are read again
// when they change.
//
// A key is only ever known by its SHA-256, in the file as well as in memory. A
// key that is presented is hashed, found by the first eight bytes of the hash,
// and compared in whole and in constant time. What the search tells by its time
// is about hashes, which nobody can choose: to make use of it one would have to
// find keys whose hashes begin as wanted, and would then know the beginning of a
// hash of 130 random bits.
package guard

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// Right is what a call needs to be allowed.
type Right uint8

const (
	// Probe is to ask whether the server is well: everybody may.
	Probe Right = iota
	// Use is to use models: whoever has a key, everybody if there are no keys.
	Use
	// Observe is to see what all clients do: who has an admin's key, everybody if
	// there are no keys.
	Observe
	// Change is to change what is served: who has an admin's key or, if there are
	// no keys, calls from the server's own machine.
	Change
)

// What a call is refused for.
var (
	ErrNoKey      = errors.New("this server wants an API key: send it as Authorization: Bearer KEY, or as X-API-Key")
	ErrUnknownKey = errors.New("the API key is not known here: ask the server's operator for one")
	ErrNotAdmin   = errors.New("this call needs the API key of an admin: send one")
	ErrNotLocal   = errors.New("without API keys the models are changed from the server's own machine only: call 127.0.0.1 there, or start the server with --keys")
	ErrModel      = errors.New("the API key is not for this model: ask the server's operator to allow it")
	ErrRate       = errors.New("the API key sends more requests a second than it may: send them slower")
	ErrBusy       = errors.New("the API key has as many requests under way as it may: wait for one of them to end")
)

// Guard knows the keys of a file. It is safe for concurrent use. A nil Guard
// stands for a server without keys.
type Guard struct {
	path  string
	seen  []byte // of the file, of which table is
	table atomic.Pointer[table]
}

// table is the keys at one time, by the first bytes of their hashes.
type table map[uint64][]*Client

// Open reads the keys of the file at path. The limits of its keys begin now.
func Open(path string, now time.Time) (*Guard, error) {
	g := &Guard{path: path}
	g.table.Store(new(table))
	_, err := g.Reload(now)
	return g, err
}

// Reload reads the file again and reports whether it has changed. Whoever is
// known before and after keeps what it has used up of its limits. After an error
// the keys are what they were. It is for one goroutine at a time.
func (g *Guard) Reload(now time.Time) (changed bool, err error) {
	data, err := readFile(g.path)
	if err != nil {
		return false, err
	}
	if g.seen != nil && string(data) == string(g.seen) {
		return false, nil
	}
	keys, err := Parse(data)
	if err != nil {
		return false, fmt.Errorf("%s: %w", g.path, err)
	}
	g.seen = data
	next := make(table, len(keys))
	for _, k := range keys {
		next.add(k, g.known(k.SHA256), now)
	}
	g.table.Store(&next)
	return true, nil
}

// String names what Reload reads.
func (g *Guard) String() string { return "keys" }

func (t table) add(k Key, before *Client, now time.Time) {
	c := &Client{Key: k, limiter: newLimiter(k, now)}
	if before != nil {
		c.take(&before.limiter)
	}
	p := prefix(k.SHA256)
	t[p] = append(t[p], c)
}

func prefix(d Digest) uint64 { return binary.LittleEndian.Uint64(d[:]) }

// known returns the client whose key has the hash, or nil.
func (g *Guard) known(d Digest) *Client {
	for _, c := range (*g.table.Load())[prefix(d)] {
		if subtle.ConstantTimeCompare(c.SHA256[:], d[:]) == 1 {
			return c
		}
	}
	return nil
}

// Allow returns whose call it is that needs the right: that of the key, nil if
// the call needs none. local says that it comes from the server's own machine.
func (g *Guard) Allow(need Right, key string, local bool) (*Client, error) {
	switch {
	case need == Probe:
		return nil, nil
	case g == nil && need == Change && !local:
		return nil, ErrNotLocal
	case g == nil:
		return nil, nil
	case key == "":
		return nil, ErrNoKey
	case len(key) > maxKey:
		return nil, ErrUnknownKey
	}
	var buf [maxKey]byte
	c := g.known(sha256.Sum256(buf[:copy(buf[:], key)]))
	switch {
	case c == nil:
		return nil, ErrUnknownKey
	case need > Use && !c.Admin:
		return nil, ErrNotAdmin
	}
	return c, nil
}

// Again returns whose the client's key is by now, for a call that began before
// the file was last read. The error is ErrUnknownKey if the key is gone.
func (g *Guard) Again(c *Client) (*Client, error) {
	if g == nil || c == nil {
		return c, nil
	}
	if now := g.known(c.SHA256); now != nil {
		return now, nil
	}
	return nil, ErrUnknownKey
}

// Shares returns the tenants' shares, as sched.Options.Shares takes them.
func (g *Guard) Shares() map[string]float64 {
	if g == nil {
		return nil
	}
	shares := make(map[string]float64)
	for _, clients := range *g.table.Load() {
		for _, c := range clients {
			if c.Share > 0 {
				shares[c.Tenant] = c.Share
			}
		}
	}
	return shares
}

// Client is who has a key. A nil Client is anybody, where there are no keys: it
// may use all models and has no limits.
type Client struct {
	Key
	limiter
}

// TenantName returns the tenant whose requests are to be scheduled fairly; "" for a nil Client.
func (c *Client) TenantName() string {
	if c == nil {
		return ""
	}
	return c.Tenant
}

// May reports an error unless the client may use the model.
func (c *Client) May(model string) error {
	if c == nil || len(c.Models) == 0 || slices.Contains(c.Models, model) {
		return nil
	}
	return ErrModel
}

// readFile reads a small file.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes: it is no file of keys or certificates", path, info.Size())
	case !info.Mode().IsRegular() && !info.IsDir(): // which could be read once, or for ever
		return nil, fmt.Errorf("%s is no regular file: keys and certificates are read again and again", path)
	}
	return os.ReadFile(path)
}

// maxFile bounds the size of the files.
const maxFile = 8 << 20
