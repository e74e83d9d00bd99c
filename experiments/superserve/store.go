package superserve

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
	"weft/sched"
)

// store keeps the results of cells, one file each, named by the digest of all that the
// result depends on, so that a run which was stopped goes on where it was.
type store struct {
	dir     string // "": nothing is kept
	program string // digest of the program that computes
	profile string // digest of the profile
}

// kept is the content of a file.
type kept struct {
	Program string `json:"program"`
	Profile string `json:"profile"`
	Cell    Cell   `json:"cell"`
	Result  Result `json:"result"`
}

func newStore(dir, program string, p *sched.Profile) (*store, error) {
	s := &store{dir: dir, program: program}
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	s.profile = digest(raw)
	if dir == "" {
		return s, nil
	}
	s.dir = filepath.Join(dir, "cells")
	return s, os.MkdirAll(s.dir, 0o755)
}

func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func (s *store) path(c Cell) (string, error) {
	c.Label = "" // the same load under another name is the same load
	raw, err := json.Marshal(kept{s.program, s.profile, c, Result{}})
	return filepath.Join(s.dir, digest(raw)[:32]+".json"), err
}

// get returns the cell's result if it is kept. A file that can't be read is as good as none.
func (s *store) get(c Cell) (Result, bool, error) {
	if s.dir == "" {
		return Result{}, false, nil
	}
	path, err := s.path(c)
	if err != nil {
		return Result{}, false, err
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, false, nil
	}
	if err != nil {
		return Result{}, false, fmt.Errorf("read a kept result: %w", err)
	}
	var k kept
	if err := json.Unmarshal(raw, &k); err != nil || k.Result.Requests == 0 {
		return Result{}, false, nil
	}
	return k.Result, true, nil
}

func (s *store) put(c Cell, r Result) error {
	if s.dir == "" {
		return nil
	}
	path, err := s.path(c)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(kept{s.program, s.profile, c, r})
	})
}
