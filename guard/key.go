package guard

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"weft/atomicfile"
)

// Key is what the file of keys says about one of them. The key itself is not in it.
type Key struct {
	// Name is what people call it.
	Name string `json:"name"`
	// SHA256 is the hash of the key.
	SHA256 Digest `json:"sha256"`
	// Tenant is whose requests its requests count as when load is shed. "" in the
	// file: Name.
	Tenant string `json:"tenant,omitempty"`
	// Share is the tenant's weight then. 0: 1, or what another key of the tenant says.
	Share float64 `json:"share,omitempty"`
	// Rate bounds the requests a second, on average. 0: no bound.
	Rate float64 `json:"rate,omitempty"`
	// Burst bounds the requests at a time that Rate lets pass. 0: what a second lets pass.
	Burst int `json:"burst,omitempty"`
	// Concurrent bounds the requests that are under way. 0: no bound.
	Concurrent int `json:"concurrent,omitempty"`
	// Admin gives the rights Observe and Change.
	Admin bool `json:"admin,omitempty"`
	// Models are those that it may use. Empty: all.
	Models []string `json:"models,omitempty"`
}

// Digest is a SHA-256. Its text is in hexadecimal.
type Digest [sha256.Size]byte

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(d[:])), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(d) {
		return fmt.Errorf("%.80q is no SHA-256 of 64 hexadecimal digits", text)
	}
	copy(d[:], b)
	return nil
}

// Bounds of what the file may say.
const (
	minRate       = 1e-3
	maxRate       = 1e9
	maxBurst      = 1e6
	maxConcurrent = 1e6
	maxShare      = 1e6
	maxName       = 128
)

// maxKey bounds the length of a key.
const maxKey = 256

// NewKey returns a key of 130 random bits and its hash.
func NewKey() (key string, d Digest) {
	key = "weft-" + rand.Text()
	return key, sha256.Sum256([]byte(key))
}

// document is the file.
type document struct {
	Keys []Key `json:"keys"`
}

// Parse reads a file of keys: {"keys":[KEY, ...]}. Tenants that are not named
// are filled in.
func Parse(data []byte) ([]Key, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var doc document
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("this is no file of keys: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON: a file of keys has one object")
	}
	for i := range doc.Keys {
		if k := &doc.Keys[i]; k.Tenant == "" {
			k.Tenant = k.Name
		}
	}
	return doc.Keys, validate(doc.Keys)
}

// Read reads the file of keys at path.
func Read(path string) ([]Key, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// Write writes a file of keys, whole or not at all.
func Write(path string, keys []Key) error {
	if err := validate(keys); err != nil {
		return err
	}
	data, err := json.MarshalIndent(document{append([]Key{}, keys...)}, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
}

// validate reports what is wrong with the keys, each by itself and all together.
func validate(keys []Key) error {
	named := make(map[string]bool, len(keys))
	hashed := make(map[Digest]string, len(keys))
	shares := make(map[string]float64)
	for i := range keys {
		k := &keys[i]
		if err := k.validate(); err != nil {
			return fmt.Errorf("key %.40q: %w", k.Name, err)
		}
		if named[k.Name] {
			return fmt.Errorf("two keys have the name %q: choose another one", k.Name)
		}
		named[k.Name] = true
		if other, ok := hashed[k.SHA256]; ok {
			return fmt.Errorf("the keys %q and %q are the same: make a new one", other, k.Name)
		}
		hashed[k.SHA256] = k.Name
		if before := shares[k.Tenant]; k.Share > 0 && before > 0 && before != k.Share {
			return fmt.Errorf("key %q: the tenant %q has the share %g already, by another key: give %g the same", k.Name, k.Tenant, before, k.Share)
		}
		shares[k.Tenant] = max(shares[k.Tenant], k.Share)
	}
	return nil
}

func (k *Key) validate() error {
	switch {
	case !plain(k.Name) || !plain(k.Tenant):
		return fmt.Errorf("name and tenant must have 1 to %d characters, none of them a control character", maxName)
	case k.SHA256 == Digest{}:
		return errors.New("sha256 is missing: it is that of the key")
	case k.Share != 0 && !(k.Share >= minRate && k.Share <= maxShare):
		return fmt.Errorf("the share is %v: choose %g to %g", k.Share, minRate, maxShare)
	case k.Rate != 0 && !(k.Rate >= minRate && k.Rate <= maxRate):
		return fmt.Errorf("the rate is %v: choose %g to %g requests a second", k.Rate, minRate, maxRate)
	case k.Burst < 0 || k.Burst > maxBurst || k.Burst > 0 && k.Rate == 0:
		return fmt.Errorf("the burst is %d: choose 1 to %g, together with a rate", k.Burst, maxBurst)
	case k.Concurrent < 0 || k.Concurrent > maxConcurrent:
		return fmt.Errorf("concurrent is %d: choose 1 to %g", k.Concurrent, maxConcurrent)
	case slices.Contains(k.Models, ""):
		return errors.New("a model has no name: name it, or leave models out for all")
	}
	return nil
}

// plain reports whether a name can be shown and logged.
func plain(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' })
}
