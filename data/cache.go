package data

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// sumsFile records, in the format of sha256sum, what was put into a cache folder. It vouches for
// files whose official SHA-256 is not published one by one.
const sumsFile = "SHA256SUMS"

// fromCache reads the files from dir; its error is fs.ErrNotExist if there are none.
func (s *spec) fromCache(dir string) (*found, error) {
	files := map[string][]byte{}
	for _, f := range s.files {
		path := filepath.Join(dir, f.name)
		b, err := f.read(path)
		if errors.Is(err, fs.ErrNotExist) && len(files) > 0 {
			return nil, fmt.Errorf("%s is gone while its neighbours are there", path)
		}
		if err != nil {
			return nil, err
		}
		files[f.name] = b
	}
	got, err := s.check(files)
	if err != nil {
		return nil, fmt.Errorf("cache %s: %w", dir, err)
	}
	recorded, err := readSums(filepath.Join(dir, sumsFile))
	if err != nil {
		return nil, fmt.Errorf("cache %s: %w", dir, err)
	}
	for i, f := range s.files {
		if recorded[f.name] != got.sums[i] {
			return nil, fmt.Errorf("cache %s: %s is damaged: its SHA-256 is not the one in %s", dir, f.name, sumsFile)
		}
	}
	got.source, got.official = dir, true
	return got, nil
}

// toCache writes the files, and then the record that vouches for them.
func (s *spec) toCache(dir string, got *found) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var sums bytes.Buffer
	for i, f := range s.files {
		if err := writeWhole(filepath.Join(dir, f.name), got.contents[i]); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", got.sums[i], f.name)
	}
	return writeWhole(filepath.Join(dir, sumsFile), sums.Bytes())
}

// writeWhole replaces path by a rename, so that no reader ever sees half a file. It need not reach the
// disk at once: what a power cut spoils, the check at the next load finds.
func writeWhole(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// readSums reads lines of sum, two spaces, name.
func readSums(path string) (map[string]string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is gone", sumsFile) // the files are there, so this is damage
	}
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if sum, name, ok := strings.Cut(lines.Text(), "  "); ok {
			sums[name] = sum
		}
	}
	return sums, nil
}
