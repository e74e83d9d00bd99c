// Package data answers: which images does a network learn from, and in which order?
//
// It loads Fashion-MNIST, MNIST, CIFAR-10 or a folder of images a class into memory as a [Set] of
// three splits, and feeds a training loop with normalised, augmented batches through a [Loader].
// The files of the named sets are looked for in the folder that the user names, then in the cache,
// then in the operating system's or language's package of them, then at their public address, and
// are checked by length and SHA-256 every time they are read.
//
// Pixels are stored channels last (N,H,W,C), one byte each; a network sees (pixel/255 - mean) / std.
package data

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Set is a data set in memory. Its slices are shared, not copied: treat them as read-only.
type Set struct {
	Name       string
	H, W, C    int       // one image
	Classes    int       // labels are 0..Classes-1
	ClassNames []string  // Classes of them, in the order of the labels
	Mean, Std  []float32 // per channel, of pixel/255 over the training images

	Train, Val, Test Split // Val is carved from the training images, never from Test

	Source   string // where the files came from, for people
	Digest   string // SHA-256 over the names and SHA-256 sums of the files, and the size that images were scaled to
	Official bool   // the files are bit for bit those that the authors published
}

// ImageSize is the number of bytes (and values) of one image, H*W*C.
func (s *Set) ImageSize() int { return s.H * s.W * s.C }

// Split is a list of labelled images.
type Split struct {
	Images []uint8 // N,H,W,C
	Labels []int32 // N
}

// N is the number of images.
func (s Split) N() int { return len(s.Labels) }

// Image returns the bytes of image i (H,W,C), not a copy.
func (s Split) Image(i int) []uint8 {
	size := len(s.Images) / len(s.Labels)
	return s.Images[i*size : (i+1)*size : (i+1)*size]
}

// Slice returns images lo..hi-1 as a view of the same memory.
func (s Split) Slice(lo, hi int) Split {
	if s.N() == 0 {
		return s
	}
	size := len(s.Images) / len(s.Labels)
	return Split{Images: s.Images[lo*size : hi*size], Labels: s.Labels[lo:hi]}
}

// Subset returns a copy of the images at the given indices, in that order.
func (s Split) Subset(indices []int) Split {
	if len(indices) == 0 {
		return Split{}
	}
	size := len(s.Images) / len(s.Labels)
	out := Split{Images: make([]uint8, 0, len(indices)*size), Labels: make([]int32, 0, len(indices))}
	for _, i := range indices {
		out.Images = append(out.Images, s.Image(i)...)
		out.Labels = append(out.Labels, s.Labels[i])
	}
	return out
}

// Options says where to look for data and how to split it. The zero value is ready to use.
type Options struct {
	DataDir   string       // folder that holds the files of a named set, or the images; nothing else is tried then
	CacheDir  string       // default: weft/data in the user's cache folder
	Size      int          // folders of images only: scale every image to Size x Size
	ValImages int          // default 5000, at most a tenth of the training images, or one; negative: none
	Seed      uint64       // chooses the validation images
	Log       *slog.Logger // default: silent
}

func (o Options) withDefaults() (Options, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CacheDir == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return o, fmt.Errorf("find a cache folder (name one): %w", err)
		}
		o.CacheDir = filepath.Join(dir, "weft", "data")
	}
	return o, nil
}

// Names lists the sets that Load knows by name.
func Names() []string {
	names := make([]string, len(catalogue))
	for i, s := range catalogue {
		names[i] = s.name
	}
	return names
}

// Load returns the data set called name: one of [Names], or the path of a folder of images a class
// (DIR/train/CLASS/* and DIR/test/CLASS/*, or DIR/CLASS/*), in whose place Options.DataDir stands if it is given. Its errors are
// one sentence that says what to do.
func Load(ctx context.Context, name string, opt Options) (*Set, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	for _, s := range catalogue {
		if s.name != name {
			continue
		}
		if opt.Size > 0 {
			return nil, fmt.Errorf("images of %s are of %dx%d pixels and are not scaled: leave the size out", name, s.h, s.w)
		}
		return s.load(ctx, opt)
	}
	switch folder := cmp.Or(opt.DataDir, name); {
	case isDir(folder):
		return loadFolder(ctx, folder, opt)
	case opt.DataDir != "":
		return nil, fmt.Errorf("there is no folder %s with the images of %s", folder, name)
	}
	return nil, fmt.Errorf("no data set is called %q: name %s, or an existing folder with one folder of images for each class; if the folder has moved, say where to with --data-dir",
		name, strings.Join(Names(), ", "))
}
