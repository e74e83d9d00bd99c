package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // decoders of the files in a folder
	_ "image/png"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	maxPixels  = 1 << 26 // of one image, against files that unpack to fill memory
	maxBytes   = 1 << 36 // of a set, which is held in memory
	testSeed   = 0       // a folder's test split must not move with Options.Seed
	testOneOf  = 5       // the part of a folder without test images that becomes its test split
	folderHint = "put its images (.png, .jpg, .jpeg) into DIR/train/CLASS and DIR/test/CLASS, or DIR/CLASS"
)

// picture is one image file of a folder and what its header says.
type picture struct {
	path  string
	label int32
	w, h  int
	grey  bool
	sum   [sha256.Size]byte
}

// loadFolder reads a folder of images a class. The classes are the folder names in byte order.
func loadFolder(ctx context.Context, dir string, o Options) (*Set, error) {
	trainDir, testDir := dir, ""
	if isDir(filepath.Join(dir, "train")) {
		trainDir = filepath.Join(dir, "train")
		if testDir = filepath.Join(dir, "test"); !isDir(testDir) {
			return nil, fmt.Errorf("%s has a folder train but no folder test: %s", dir, folderHint)
		}
	}
	classes, err := classFolders(trainDir)
	if err != nil {
		return nil, err
	}
	if len(classes) < 2 {
		return nil, fmt.Errorf("%s holds %d class folders and needs two or more: %s", trainDir, len(classes), folderHint)
	}
	pictures, err := listPictures(trainDir, classes, true)
	if err != nil {
		return nil, err
	}
	trainN := len(pictures)
	if testDir != "" {
		if err := knownClasses(testDir, classes); err != nil {
			return nil, err
		}
		test, err := listPictures(testDir, classes, false)
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, test...)
	}
	set := &Set{Name: filepath.Base(dir), Classes: len(classes), ClassNames: classes, Source: dir}
	if err := set.shapeOf(pictures, o.Size); err != nil {
		return nil, err
	}
	all, err := set.decode(ctx, pictures)
	if err != nil {
		return nil, err
	}
	set.Digest = set.digest(dir, pictures)
	train := all.Slice(0, trainN)
	if set.Test = all.Slice(trainN, all.N()); testDir == "" {
		train, set.Test = carve(all, set.Classes, all.N()/testOneOf, testSeed)
	}
	if set.Test.N() == 0 {
		return nil, fmt.Errorf("%s leaves no images for the test: %s, some of them in each class", dir, folderHint)
	}
	if set.Train, set.Val, err = o.splitTrain(train, set.Classes); err != nil {
		return nil, err
	}
	set.Mean, set.Std = moments(set.Train.Images, set.C)
	o.Log.Info("data set loaded", "name", set.Name, "source", dir, "classes", set.Classes,
		"train", set.Train.N(), "val", set.Val.N(), "test", set.Test.N())
	return set, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// classFolders lists the folders in dir but hidden ones.
func classFolders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var classes []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && isDir(filepath.Join(dir, e.Name())) {
			classes = append(classes, e.Name())
		}
	}
	return classes, nil
}

func knownClasses(testDir string, classes []string) error {
	test, err := classFolders(testDir)
	if err != nil {
		return err
	}
	for _, c := range test {
		if !slices.Contains(classes, c) {
			return fmt.Errorf("class %s has test images in %s but no training images", c, filepath.Join(testDir, c))
		}
	}
	return nil
}

// listPictures lists the image files of every class. Only a training class must have some.
func listPictures(dir string, classes []string, training bool) ([]picture, error) {
	var out []picture
	for label, class := range classes {
		at := filepath.Join(dir, class)
		entries, err := os.ReadDir(at)
		if err != nil && (training || !errors.Is(err, os.ErrNotExist)) {
			return nil, err
		}
		before := len(out)
		for _, e := range entries {
			switch strings.ToLower(filepath.Ext(e.Name())) {
			case ".png", ".jpg", ".jpeg":
				out = append(out, picture{path: filepath.Join(at, e.Name()), label: int32(label)})
			}
		}
		if training && len(out) == before {
			return nil, fmt.Errorf("class %s has no images: put .png or .jpg files into %s, or remove the folder", class, at)
		}
	}
	return out, nil
}

// shapeOf reads every header and settles the shape of the set: grey only if all images are.
func (s *Set) shapeOf(pictures []picture, size int) error {
	s.C = 1
	for i := range pictures {
		p := &pictures[i]
		if err := p.readHeader(); err != nil {
			return err
		}
		if !p.grey {
			s.C = 3
		}
		if first := pictures[0]; size == 0 && (p.w != first.w || p.h != first.h) {
			return fmt.Errorf("images differ in size (%s is %d x %d, %s is %d x %d): name one size to scale them all to",
				first.path, first.w, first.h, p.path, p.w, p.h)
		}
	}
	s.W, s.H = pictures[0].w, pictures[0].h
	if size > 0 {
		if size > maxPixels/size {
			return fmt.Errorf("images cannot be scaled to %d x %d: they may have 1 to %d pixels", size, size, maxPixels)
		}
		s.W, s.H = size, size
	}
	if n := int64(len(pictures)); n > maxBytes/int64(s.ImageSize()) {
		return fmt.Errorf("%d images of %d x %d pixels take more than %d GiB of memory: name a smaller size to scale them to", n, s.W, s.H, maxBytes>>30)
	}
	return nil
}

func (p *picture) readHeader() error {
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	c, _, err := image.DecodeConfig(f)
	if err != nil {
		return fmt.Errorf("%s is not a readable image: %w", p.path, err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxPixels/c.Height {
		return fmt.Errorf("%s is %d x %d: images may have 1 to %d pixels", p.path, c.Width, c.Height, maxPixels)
	}
	p.w, p.h, p.grey = c.Width, c.Height, c.ColorModel == color.GrayModel || c.ColorModel == color.Gray16Model
	return nil
}

// decode reads all pictures into one split, on as many threads as Go may use.
func (s *Set) decode(ctx context.Context, pictures []picture) (Split, error) {
	out := Split{Images: make([]uint8, len(pictures)*s.ImageSize()), Labels: make([]int32, len(pictures))}
	errs := make([]error, len(pictures))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(pictures) {
					return
				}
				out.Labels[i] = pictures[i].label
				errs[i] = s.decodeOne(out.Image(i), &pictures[i])
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return Split{}, ctx.Err()
	}
	for _, err := range errs { // the first by name, whatever the threads did
		if err != nil {
			return Split{}, err
		}
	}
	return out, nil
}

func (s *Set) decodeOne(dst []uint8, p *picture) error {
	b, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	p.sum = sha256.Sum256(b)
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("%s is not a readable image: %w", p.path, err)
	}
	if r := img.Bounds(); r.Dx() != p.w || r.Dy() != p.h {
		return fmt.Errorf("%s changed while it was read", p.path)
	}
	pixels := channels(img, s.C)
	if p.w != s.W || p.h != s.H {
		pixels = scaleSquare(pixels, p.w, p.h, s.C, s.W)
	}
	copy(dst, pixels)
	return nil
}

// digest hashes the names, relative to dir, and contents of the files, and the size if some were scaled to it.
func (s *Set) digest(dir string, pictures []picture) string {
	h := sha256.New()
	scaled := false
	for _, p := range pictures {
		scaled = scaled || p.w != s.W || p.h != s.H
		name, err := filepath.Rel(dir, p.path)
		if err != nil {
			name = p.path
		}
		fmt.Fprintf(h, "%x  %s\n", p.sum, filepath.ToSlash(name))
	}
	if scaled {
		fmt.Fprintf(h, "%dx%d\n", s.W, s.H)
	}
	return hex.EncodeToString(h.Sum(nil))
}
