// Package kept answers: which results need not be computed again? It keeps them in a
// folder, one file each, named by the digest of all that the result depends on, so
// that a run which was stopped goes on where it was.
package kept

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"weft/atomicfile"
)

// Store keeps results of type R by keys of type K, which must be of use to
// encoding/json. It is safe for concurrent use.
type Store[K, R any] struct {
	dir     string // "": nothing is kept
	context string // digest
}

// file is the content of a file.
type file[K, R any] struct {
	Context string `json:"context"`
	Key     K      `json:"key"`
	Result  R      `json:"result"`
}

// New returns the store in a folder, which is made, or one that keeps nothing for "".
// Results depend on the context beside their keys: what was kept under another one is
// not found.
func New[K, R any](dir string, context ...any) (*Store[K, R], error) {
	raw, err := json.Marshal(context)
	if err != nil {
		return nil, fmt.Errorf("keep results: %w", err)
	}
	if dir != "" {
		err = os.MkdirAll(dir, 0o755)
	}
	return &Store[K, R]{dir, digest(raw)}, err
}

func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}

func (s *Store[K, R]) path(key K) (string, error) {
	raw, err := json.Marshal(file[K, struct{}]{Context: s.context, Key: key})
	return filepath.Join(s.dir, digest(raw)+".json"), err
}

// Get returns the key's result if it is kept. A file that can't be read as one is as
// good as none.
func (s *Store[K, R]) Get(key K) (r R, ok bool, err error) {
	if s.dir == "" {
		return r, false, nil
	}
	path, err := s.path(key)
	if err != nil {
		return r, false, fmt.Errorf("find a kept result: %w", err)
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read a kept result: %w", err)
	}
	var f file[K, R]
	if json.Unmarshal(raw, &f) != nil || f.Context != s.context {
		return r, false, nil
	}
	return f.Result, true, nil
}

// Put keeps the key's result.
func (s *Store[K, R]) Put(key K, r R) error {
	if s.dir == "" {
		return nil
	}
	path, err := s.path(key)
	if err != nil {
		return fmt.Errorf("keep a result: %w", err)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(file[K, R]{s.context, key, r})
	})
}
