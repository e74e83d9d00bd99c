package data

import (
	"encoding/binary"
	"fmt"
)

// parseIDX reads an idx file of unsigned bytes with the given number of dimensions: the bytes 0, 0, 8,
// rank, then rank big-endian uint32 sizes, then the values. It returns views of b and allocates
// nothing that grows with the sizes that b claims.
func parseIDX(b []byte, rank int) (dims []int, values []byte, err error) {
	if len(b) < 4+4*rank {
		return nil, nil, fmt.Errorf("truncated: %d bytes do not hold an idx header of %d dimensions", len(b), rank)
	}
	if b[0] != 0 || b[1] != 0 || b[2] != 8 || int(b[3]) != rank {
		return nil, nil, fmt.Errorf("not an idx file of bytes in %d dimensions: it starts with % x", rank, b[:4])
	}
	values = b[4+4*rank:]
	count := uint64(1)
	dims = make([]int, rank)
	for i := range dims {
		d := binary.BigEndian.Uint32(b[4+4*i:])
		if d == 0 {
			return nil, nil, fmt.Errorf("dimension %d is empty", i)
		}
		dims[i] = int(d)
		if count *= uint64(d); count > uint64(len(values)) { // before the next factor can overflow
			return nil, nil, fmt.Errorf("truncated: the header promises at least %d values, %d follow", count, len(values))
		}
	}
	if count != uint64(len(values)) {
		return nil, nil, fmt.Errorf("the header promises %d values, %d follow", count, len(values))
	}
	return dims, values, nil
}

// parseMNIST pairs an idx file of images with one of labels 0..classes-1.
func parseMNIST(images, labels []byte, h, w, classes int) (Split, error) {
	dims, pixels, err := parseIDX(images, 3)
	if err != nil {
		return Split{}, fmt.Errorf("images: %w", err)
	}
	_, values, err := parseIDX(labels, 1)
	if err != nil {
		return Split{}, fmt.Errorf("labels: %w", err)
	}
	if dims[1] != h || dims[2] != w {
		return Split{}, fmt.Errorf("images are %d x %d, not %d x %d", dims[1], dims[2], h, w)
	}
	if dims[0] != len(values) {
		return Split{}, fmt.Errorf("%d images but %d labels", dims[0], len(values))
	}
	out := Split{Images: pixels, Labels: make([]int32, len(values))}
	for i, l := range values {
		if int(l) >= classes {
			return Split{}, fmt.Errorf("label %d of image %d is not below %d", l, i, classes)
		}
		out.Labels[i] = int32(l)
	}
	return out, nil
}

const (
	cifarSide   = 32
	cifarPlane  = cifarSide * cifarSide
	cifarRecord = 1 + 3*cifarPlane
)

// appendCIFAR appends the records of a CIFAR-10 binary file, each a label byte and three planes of
// 32 x 32 (red, green, blue), to s as channels-last pixels.
func appendCIFAR(s Split, b []byte) (Split, error) {
	if len(b) == 0 || len(b)%cifarRecord != 0 {
		return s, fmt.Errorf("truncated: %d bytes are not a whole number of records of %d", len(b), cifarRecord)
	}
	for ; len(b) > 0; b = b[cifarRecord:] {
		if b[0] > 9 {
			return s, fmt.Errorf("label %d of record %d is not below 10", b[0], s.N())
		}
		s.Labels = append(s.Labels, int32(b[0]))
		r, g, bl := b[1:1+cifarPlane], b[1+cifarPlane:1+2*cifarPlane], b[1+2*cifarPlane:cifarRecord]
		for i := range cifarPlane {
			s.Images = append(s.Images, r[i], g[i], bl[i])
		}
	}
	return s, nil
}
