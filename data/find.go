package data

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// found is the checked content of a spec's files, in the order of spec.files.
type found struct {
	contents [][]byte
	sums     []string // SHA-256, hexadecimal
	source   string
	official bool
}

func (s *spec) load(ctx context.Context, o Options) (*Set, error) {
	got, err := s.find(ctx, o)
	if err != nil {
		return nil, err
	}
	train, test, err := s.build(s, got.contents)
	if err != nil {
		return nil, fmt.Errorf("%s from %s: %w", s.name, got.source, err)
	}
	set := &Set{
		Name: s.name, H: s.h, W: s.w, C: s.c, Classes: len(s.classNames), ClassNames: s.classNames,
		Mean: s.mean, Std: s.std, Test: test, Source: got.source, Official: got.official,
	}
	sum := sha256.New()
	for i, f := range s.files {
		fmt.Fprintf(sum, "%s  %s\n", got.sums[i], f.name)
	}
	set.Digest = hex.EncodeToString(sum.Sum(nil))
	if set.Train, set.Val, err = o.splitTrain(train, set.Classes); err != nil {
		return nil, err
	}
	o.Log.Info("data set loaded", "name", s.name, "source", got.source, "official", got.official,
		"train", set.Train.N(), "val", set.Val.N(), "test", set.Test.N())
	return set, nil
}

// find looks in the user's folder if one is named, else in the cache and then at the origins.
func (s *spec) find(ctx context.Context, o Options) (*found, error) {
	if o.DataDir != "" {
		return s.fromUser(o.DataDir)
	}
	cache := filepath.Join(o.CacheDir, s.name)
	got, err := s.fromCache(cache)
	if err == nil {
		return got, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		o.Log.Warn("cached file is bad, fetching it again", "name", s.name, "cause", err)
	}
	var tried []string
	for _, from := range s.origins {
		o.Log.Info("fetching data set", "name", s.name, "from", from.String())
		files, err := from.fetch(ctx, s)
		if err == nil {
			got, err = s.check(files)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("fetch %s: %w", s.name, ctx.Err())
		}
		if err != nil {
			tried = append(tried, fmt.Sprintf("%s: %v", from, err))
			continue
		}
		got.source, got.official = from.String(), true
		if err := s.toCache(cache, got); err != nil {
			o.Log.Warn("data set is used but not cached", "name", s.name, "cause", err)
		}
		return got, nil
	}
	return nil, fmt.Errorf("%s is not on this computer and could not be fetched: %s, or put %s into a folder and name it with --data-dir (%s)",
		s.name, s.hint, s.wanted(), strings.Join(tried, "; "))
}

// wanted names the files that a folder must hold.
func (s *spec) wanted() string {
	names := make([]string, len(s.files))
	for i, f := range s.files {
		names[i] = f.name
	}
	return strings.Join(names, ", ") + " (plain or .gz)"
}

// check refuses files that are absent, of another length or damaged.
func (s *spec) check(files map[string][]byte) (*found, error) {
	got := &found{official: true}
	for _, f := range s.files {
		b, ok := files[f.name]
		if !ok {
			return nil, fmt.Errorf("%s is missing", f.name)
		}
		if int64(len(b)) < f.size {
			return nil, fmt.Errorf("%s is truncated: %d bytes instead of %d", f.name, len(b), f.size)
		}
		if int64(len(b)) > f.size {
			return nil, fmt.Errorf("%s is too long: more than its %d bytes", f.name, f.size)
		}
		h := sha256.Sum256(b)
		sum := hex.EncodeToString(h[:])
		if f.sha256 != "" && sum != f.sha256 {
			return nil, fmt.Errorf("%s is damaged: its SHA-256 is %s instead of %s", f.name, sum, f.sha256)
		}
		got.official = got.official && f.sha256 != ""
		got.contents, got.sums = append(got.contents, b), append(got.sums, sum)
	}
	return got, nil
}

// fromUser reads the files, or the archive of them, from the folder that the user named.
func (s *spec) fromUser(dir string) (*found, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder: name one that holds %s", dir, s.wanted())
	}
	for _, sub := range append([]string{"", s.name}, s.subdirs...) {
		at := filepath.Join(dir, sub)
		files, err := s.readDir(at)
		if errors.Is(err, fs.ErrNotExist) && len(files) == 0 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w; put %s there", s.name, at, err, s.wanted())
		}
		return s.trust(at, files, false)
	}
	if s.archive.file != "" {
		path := filepath.Join(dir, s.archive.file)
		files, err := s.readArchive(path, s.archive)
		if err == nil {
			return s.trust(path, files, true)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s is not in %s: put %s there, or leave out --data-dir to have it fetched", s.name, dir, s.wanted())
}

// trust checks files of the user; those without a known SHA-256 are official only from the archive.
func (s *spec) trust(source string, files map[string][]byte, archived bool) (*found, error) {
	got, err := s.check(files)
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", s.name, source, err)
	}
	got.official = got.official || archived
	got.source = source
	if !got.official {
		last := len(got.sums) - 1
		got.source += fmt.Sprintf(" (unofficial copy: it did not come as %s; %s has SHA-256 %s)",
			s.archive.file, s.files[last].name, got.sums[last])
	}
	return got, nil
}

// readDir reads the files from one folder, plain or gzipped.
func (s *spec) readDir(dir string) (map[string][]byte, error) {
	out := map[string][]byte{}
	var missing []string
	for _, f := range s.files {
		b, err := f.read(filepath.Join(dir, f.name))
		if errors.Is(err, fs.ErrNotExist) {
			b, err = f.read(filepath.Join(dir, f.name+".gz"))
		}
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, f.name)
			continue
		}
		if err != nil {
			return nil, err
		}
		out[f.name] = b
	}
	if len(missing) > 0 {
		return out, fmt.Errorf("%s: %w", strings.Join(missing, ", "), fs.ErrNotExist)
	}
	return out, nil
}

// read returns the content of path, unpacked if its name ends in .gz.
func (f file) read(path string) ([]byte, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := f.readFrom(r, strings.HasSuffix(path, ".gz"))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

// readFrom reads the file, and one byte more at most, so that a wrong length shows without filling memory.
func (f file) readFrom(r io.Reader, gzipped bool) ([]byte, error) {
	if gzipped {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("%w: it is no gzip file; delete it or name another folder", err)
		}
		defer z.Close()
		r = z
	}
	return io.ReadAll(io.LimitReader(r, f.size+1))
}
