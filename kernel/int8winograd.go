package kernel

// Winograd8 is a Conv8 of 3x3 taps, stride 1 and padding 1, computed as F(4×4, 3×3) of
// Winograd's minimal filtering (Lavin and Gray 2016, section 4) with a quarter of the
// multiplications, on integers and exactly. With the interpolation points 0, ±1, ±2, ∞,
//
//	Bᵀ = 4  0 −5  0  1  0    G′ =  3  0  0    A′ᵀ = 2  4  4  1  1  0
//	     0 −4 −4  1  1  0         −1 −1 −1          0  4 −4  2 −2  0
//	     0  4 −4 −1  1  0         −1  1 −1          0  4  4  4  4  0
//	     0 −2 −1  2  1  0          1  2  4          0  4 −4  8 −8  8
//	     0  2 −1 −2  1  0          1 −2  4
//	     0  4  0 −5  0  1          0  0  3
//
// are integers, Bᵀ x B and U = G′ w G′ᵀ fit 16 bits, and
//
//	24²·sum = A′ᵀ [ Σ_ci U ⊙ (Bᵀ x B) ] A′
//
// where everything may be computed modulo 2³²: the product with the inverse of 9 is
// 64·sum, and that is 64 times the sum itself if the sum's magnitude is below 2²⁵, which
// Winograd8Pack makes sure of. So the results are those of Conv8, and Rows may compute
// some outputs by one and some by the other.
type Winograd8 struct {
	Conv8
	Tiles *Tiles8
	U     []int16 // from Winograd8Pack, at the maximum size
}

const (
	winograd8M    = 4                                   // outputs of a tile, a side
	winograd8Pos  = (winograd8M + 2) * (winograd8M + 2) // its inputs, and its products
	winograd8Out  = winograd8M * winograd8M             // its outputs
	winograd8Line = 64                                  // bytes of a cache line
	winograd8Max  = 1<<25 - 1                           // largest magnitude of a sum
)

// Tiles8 says where the tiles of an image lie.
type Tiles8 struct {
	In  Gather  // the inputs of each tile, row by row
	Out []int32 // [tiles][16] pixels of its outputs, the last first; for those beyond the image, the tile's first
}

// NewTiles8 returns the tiles of h×w images, row by row.
func NewTiles8(h, w int) *Tiles8 {
	t := &Tiles8{In: Gather{InPix: h * w}}
	for i := range winograd8Pos {
		t.In.Taps = append(t.In.Taps, int32(i))
	}
	for y := 0; y < h; y += winograd8M {
		for x := 0; x < w; x += winograd8M {
			t.In.OutPix++
			for i := range winograd8Pos {
				at := int32(-1)
				if iy, ix := y+i/6-1, x+i%6-1; iy >= 0 && iy < h && ix >= 0 && ix < w {
					at = int32(iy*w + ix)
				}
				t.In.In = append(t.In.In, at)
			}
			for i := winograd8Out - 1; i >= 0; i-- {
				at := y*w + x
				if oy, ox := y+i/winograd8M, x+i%winograd8M; oy < h && ox < w {
					at = oy*w + ox
				}
				t.Out = append(t.Out, int32(at))
			}
		}
	}
	return t
}

// Bytes returns the memory of the tiles.
func (t *Tiles8) Bytes() int { return 4 * (len(t.In.In) + len(t.Out)) }

// Winograd8Len returns the length of transformed weights, [⌈outMax/16⌉][36][inMax/2][16][2].
func Winograd8Len(outMax, inMax int) int { return Panels(outMax) * winograd8Pos * inMax * Panel }

// Winograd8Pack transforms packed 3x3 weights (PackedIndex8). It reports whether the sums
// fit; if not, dst is of no use. inMax is a multiple of 4.
func Winograd8Pack(dst []int16, w []int8, outMax, inMax int) bool {
	const op = "winograd8 pack"
	require(inMax%quad == 0, op, "inMax is no multiple of 4")
	need(op, "dst", dst, Winograd8Len(outMax, inMax))
	need(op, "w", w, PackedLen8(outMax, 9, inMax))
	for out := range outMax {
		var positive, negative int
		for in := range inMax {
			var g [9]int
			for t := range g {
				g[t] = int(w[PackedIndex8(9, inMax, out, t, in)])
				positive, negative = positive+max(g[t], 0), negative+max(-g[t], 0)
			}
			at := (out/Panel*winograd8Pos*inMax/2+in/2)*2*Panel + out%Panel*2 + in%2
			for pos, u := range winograd8Transform(&g) {
				dst[at+pos*inMax*Panel] = int16(u)
			}
		}
		if 255*max(positive, negative) > winograd8Max {
			return false
		}
	}
	return true
}

// winograd8Transform returns G′ g G′ᵀ.
func winograd8Transform(g *[9]int) (u [winograd8Pos]int) {
	rows := func(a, b, c int) [6]int {
		return [6]int{3 * a, -a - b - c, -a + b - c, a + 2*b + 4*c, a - 2*b + 4*c, 3 * c}
	}
	var half [3][6]int // of each column
	for x := range half {
		half[x] = rows(g[x], g[3+x], g[6+x])
	}
	for i := range 6 {
		r := rows(half[0][i], half[1][i], half[2][i])
		copy(u[6*i:], r[:])
	}
	return u
}

// Scratch returns how many bytes of scratch Rows needs, from an Align boundary on (package
// tensor). Scratch holds nothing between calls; each thread needs its own.
func (w *Winograd8) Scratch() int {
	v, m := w.strides(w.Step())
	return (1+winograd8Pos+winograd8Pos)*winograd8Line + winograd8Pos*(v+m)
}

// Step returns how many tiles make a good chunk for one thread: transformed inputs and the
// products of some outputs stay in the second-level cache.
func (w *Winograd8) Step() int {
	const most, room = 96, 512 << 10
	for n := most; n > 24; n -= 24 {
		if v, m := w.strides(n); winograd8Pos*(v+m) <= room {
			return n
		}
	}
	return 24
}

// strides returns the bytes from one position to the next of transformed inputs and of
// products of n tiles, odd numbers of lines, so that positions do not share sets of a cache.
func (w *Winograd8) strides(n int) (v, m int) {
	odd := func(lines int) int { return (lines | 1) * winograd8Line }
	return odd(n * w.pitch() / winograd8Line), odd(n * 4)
}

// pitch returns the bytes of the transformed inputs of a tile at one position.
func (w *Winograd8) pitch() int { return (2*w.Cin + winograd8Line - 1) &^ (winograd8Line - 1) }

// Rows computes the tiles [lo, hi), numbered image by image.
func (w *Winograd8) Rows(lo, hi int, scratch []uint8) {
	if lo >= hi {
		return
	}
	w.check(w.Tiles.In.images(hi) * w.G.Rows())
	const op = "winograd8"
	require(len(w.G.Taps) == 9 && w.Taps == 9 && w.G.InPix == w.G.OutPix && w.G.InPix == w.Tiles.In.InPix, op, "the layer is not 3x3 with stride 1 on the images of the tiles")
	require(w.Cin%8 == 0 && w.Float == nil, op, "Cin is no multiple of 8, or there is Float")
	need(op, "U", w.U, Winograd8Len(w.Cout, w.InMax))
	need(op, "scratch", scratch, w.Scratch())
	if k := kernels8(); k.winograd != nil {
		k.winograd(w, lo, hi, scratch)
	} else {
		w.direct(k, lo, hi)
	}
}

// FastWinograd8 reports whether Winograd8 is faster than Conv8 on this machine.
func FastWinograd8() bool { return kernels8().winograd != nil }

// direct computes the outputs of tiles one by one, by the definition.
func (w *Winograd8) direct(k *impl8, lo, hi int) {
	tiles := w.Tiles.In.Rows()
	for ; lo < hi; lo++ {
		out := w.Tiles.Out[lo%tiles*winograd8Out:][:winograd8Out]
		first := out[winograd8Out-1]
		for i, p := range out {
			if p != first || i == winograd8Out-1 {
				at := lo/tiles*w.G.Rows() + int(p)
				k.conv(&w.Conv8, at, at+1)
			}
		}
	}
}
