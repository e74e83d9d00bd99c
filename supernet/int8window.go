package supernet

import (
	"encoding/binary"

	"weft/kernel"
	"weft/quant"
	"weft/tensor"
)

// columns turns an image of few channels into one whose pixels hold a row of a
// convolution's window each, so that the kernel takes it as one tap:
// [H][W][C] -> [H][OW][⌈k·C/4⌉·4], and how rows of windows gather them.
type columns struct {
	h, w, c, k, stride int
	ow, width          int // pixels and bytes of one
	size               int // bytes of an image
	gather             kernel.Gather
}

// windowKey8 names the geometry of a window over values of a shape.
type windowKey8 struct {
	tensor.Shape
	k, stride int
}

// ring returns how a depthwise layer gathers its inputs: all of its taps, ring by ring,
// also those that a small image has nothing but padding for.
func (t *Int8) ring(in tensor.Shape, o *quant.Op) *kernel.Gather {
	in.C = 0 // any
	key := windowKey8{in, o.K, o.Stride}
	if g := t.rings[key]; g != nil {
		return g
	}
	taps, p := kernel.Rings(o.K), (o.K-1)/2
	oh, ow := (in.H+2*p-o.K)/o.Stride+1, (in.W+2*p-o.K)/o.Stride+1
	g := &kernel.Gather{InPix: in.Pixels(), OutPix: oh * ow}
	for i := range taps {
		g.Taps = append(g.Taps, int32(i))
	}
	for i := range oh * ow {
		for _, tap := range taps {
			at := int32(-1)
			if y, x := i/ow*o.Stride+tap.DY, i%ow*o.Stride+tap.DX; y >= 0 && y < in.H && x >= 0 && x < in.W {
				at = int32(y*in.W + x)
			}
			g.In = append(g.In, at)
		}
	}
	t.rings[key] = g
	return g
}

func (t *Int8) column(in tensor.Shape, o *quant.Op) *columns {
	key := windowKey8{in, o.K, o.Stride}
	if c := t.columns[key]; c != nil {
		return c
	}
	p := (o.K - 1) / 2
	oh, ow := (in.H+2*p-o.K)/o.Stride+1, (in.W+2*p-o.K)/o.Stride+1
	c := &columns{h: in.H, w: in.W, c: in.C, k: o.K, stride: o.Stride, ow: ow, width: (o.K*in.C + 3) &^ 3}
	c.size = in.H * ow * c.width
	c.gather = kernel.Gather{InPix: in.H * ow, OutPix: oh * ow}
	for r := range o.K {
		c.gather.Taps = append(c.gather.Taps, int32(r))
	}
	for oy := range oh {
		for ox := range ow {
			for r := range o.K {
				at := int32(-1)
				if y := oy*o.Stride + r - p; y >= 0 && y < in.H {
					at = int32(y*ow + ox)
				}
				c.gather.In = append(c.gather.In, at)
			}
		}
	}
	t.columns[key] = c
	return c
}

// fill writes the columns of one image. What lies beyond its sides is zero, and the bytes
// that fill up are anything: their weights are zero.
func (c *columns) fill(dst, src []uint8, zero uint8) {
	pad, row := (c.k-1)/2, c.w*c.c
	from := (pad + c.stride - 1) / c.stride                 // the first whose columns are all inside,
	to := min((row-c.width+pad*c.c)/(c.stride*c.c)+1, c.ow) // and the first that is not again
	for y := range c.h {
		s, d := src[y*row:y*row+row], dst[y*c.ow*c.width:][:c.ow*c.width]
		for ox := range c.ow {
			if ox == from && from < to {
				c.inside(d[from*c.width:to*c.width], s[(from*c.stride-pad)*c.c:])
			}
			if ox >= from && ox < to {
				continue
			}
			px, first := d[ox*c.width:][:c.width], (ox*c.stride-pad)*c.c
			for i := range px {
				px[i] = zero
				if j := first + i; j >= 0 && j < row {
					px[i] = s[j]
				}
			}
		}
	}
}

// inside copies the columns that are all inside the image.
func (c *columns) inside(d, s []uint8) {
	le, step := binary.LittleEndian, c.stride*c.c
	switch c.width {
	case 4:
		for i := 0; i < len(d); i += 4 {
			le.PutUint32(d[i:], le.Uint32(s))
			if len(s) > step {
				s = s[step:]
			}
		}
	case 12:
		for i := 0; i < len(d); i += 12 {
			le.PutUint64(d[i:], le.Uint64(s))
			le.PutUint32(d[i+8:], le.Uint32(s[8:]))
			if len(s) > step {
				s = s[step:]
			}
		}
	default:
		for i, j := 0, 0; i < len(d); i, j = i+c.width, j+step {
			copy(d[i:i+c.width], s[j:j+c.width])
		}
	}
}
