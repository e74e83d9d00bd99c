//go:build !purego

package kernel

import "unsafe"

// winograd8Run is a Winograd8 at work on a block of tiles.
type winograd8Run struct {
	*Winograd8
	tmp    *uint8
	v, m   unsafe.Pointer // transformed inputs and products
	vs, ms int            // bytes from one position to the next
}

// winograd8Table is table8 for a block of tiles.
type winograd8Table struct {
	pixels  [winograd8Block * winograd8Pos]*uint8
	offsets [winograd8Block * winograd8Out]int
}

// winograd8Block is the largest number of tiles of a block.
const winograd8Block = 96

// winograd8VNNI computes tiles block by block.
func winograd8VNNI(w *Winograd8, lo, hi int, scratch []uint8) {
	r := winograd8Run{Winograd8: w}
	var t winograd8Table
	var a args8
	a.set(&w.Conv8)
	a.pixels, a.offsets = unsafe.Pointer(&t.pixels[0]), &t.offsets[0]
	step := w.Step()
	r.vs, r.ms = w.strides(step)
	p := unsafe.Pointer(&scratch[0])
	r.tmp = (*uint8)(p)
	r.v = unsafe.Add(p, winograd8Pos*winograd8Line)
	r.m = unsafe.Add(r.v, winograd8Pos*r.vs)
	for blocks := (hi - lo + step - 1) / step; blocks > 0; blocks-- {
		n := (hi - lo + blocks - 1) / blocks
		r.block(&t, &a, lo, n)
		lo += n
	}
}

// block computes n tiles.
func (r *winograd8Run) block(t *winograd8Table, a *args8, lo, n int) {
	r.find(t, lo, n)
	a.pitch, a.wpanel = r.pitch(), r.vs
	a.y = r.tmp
	for a.ch = 0; a.ch < r.Cin; a.ch += 32 {
		a.n, a.half = n, 1<<min(32, r.Cin-a.ch)-1
		a.float = (*float32)(unsafe.Add(r.v, 2*a.ch))
		winograd8Input((*uint8)(unsafe.Pointer(a)))
	}
	for co := 0; co < r.Cout; {
		p := panels8(Panels(r.Cout-co), true)
		r.products(co, p, n)
		a.pitch, a.wpanel = p*Panel*4, r.ms
		for i := range p {
			a.group(&r.Conv8, co, 1)
			a.n, a.float = n, (*float32)(unsafe.Add(r.m, i*winograd8Line))
			winograd8Output((*uint8)(unsafe.Pointer(a)))
			co += Panel
		}
	}
}

// find looks up the pixels and the outputs of n tiles.
func (r *winograd8Run) find(t *winograd8Table, lo, n int) {
	in, outs := &r.Tiles.In, r.Tiles.Out
	tiles := in.Rows()
	pad := &padRow8(r.Pad)[0]
	for done := 0; done < n; {
		image, i := (lo+done)/tiles, (lo+done)%tiles
		part := min(tiles-i, n-done)
		base := &r.X[image*in.InPix*r.XPitch]
		lookUp((**float32)(unsafe.Pointer(&t.pixels[done*winograd8Pos])), &in.In[i*winograd8Pos], part*winograd8Pos,
			(*float32)(unsafe.Pointer(base)), r.XPitch, (*float32)(unsafe.Pointer(pad)))
		for k, out := range outs[i*winograd8Out : (i+part)*winograd8Out] {
			t.offsets[done*winograd8Out+k] = r.YPitch * (image*r.G.OutPix + int(out))
		}
		done += part
	}
}

// products multiplies the inputs of n tiles by the weights of some panels, position by
// position.
func (r *winograd8Run) products(co, panels, n int) {
	b := args8{
		cin: 2 * r.Cin, wpanel: 2 * winograd8Pos * r.InMax * Panel, pitch: r.pitch(), ypitch: panels * Panel,
	}
	u := unsafe.Pointer(&r.U[Winograd8Len(co, r.InMax)])
	for pos := range winograd8Pos {
		b.n = n
		b.pixels = unsafe.Add(r.v, pos*r.vs)
		b.float = (*float32)(unsafe.Add(r.m, pos*r.ms))
		b.w = (*int8)(unsafe.Add(u, 2*pos*r.InMax*Panel))
		args := (*uint8)(unsafe.Pointer(&b))
		switch panels {
		case 4:
			winograd8Products4(args)
		case 3:
			winograd8Products3(args)
		case 2:
			winograd8Products2(args)
		default:
			winograd8Products1(args)
		}
	}
}
