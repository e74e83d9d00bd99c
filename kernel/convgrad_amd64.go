//go:build !purego

package kernel

// gradRows returns about how many rows one block of a weight gradient takes, so that
// their inputs and one panel of their output gradients stay in the first-level cache
// while all taps go through them.
func gradRows(cin int) int { return min(512, max(48, 16<<10/(4*cin+4*Panel))) }

func convGradAVX2(c *ConvGrad, lo, hi int) {
	g := c.G
	rows, size := g.Rows(), gradRows(c.Cin)
	switch {
	case g.Out != nil:
		convGradGeneric(c, lo, hi)
	case g.In == nil:
		size *= 2 // one tap: less to keep
		for r := lo * rows; r < hi*rows; r += size {
			c.block(r, min(size, hi*rows-r), 0, r, nil)
		}
	case rows <= size+size/2:
		per := max(1, size/rows)
		for n := lo; n < hi; n += per {
			c.block(n*g.InPix, rows, min(per, hi-n), n*g.OutPix, g.In)
		}
	default:
		parts := (rows + size - 1) / size
		for i := range (hi - lo) * parts {
			n, part := lo+i/parts, i%parts
			from, to := rows*part/parts, rows*(part+1)/parts
			c.block(n*g.InPix, to-from, 1, n*g.OutPix+from, g.In[from*len(g.Taps):])
		}
	}
}

// block accumulates over rows of each of several images, whose inputs begin at pixel xPix
// and whose output gradients follow each other from pixel yPix on.
func (c *ConvGrad) block(xPix, rows, images, yPix int, in []int32) {
	most := 6
	tap, pitch, ypitch := 4*len(c.G.Taps), 4*c.XPitch, 4*c.YPitch
	for co := 0; co < c.Cout; co += Panel {
		outputs := min(Panel, c.Cout-co)
		if outputs < Panel {
			most = 12
		}
		parts := (c.Cin + most - 1) / most
		dy := &c.DY[yPix*c.YPitch+co]
		for j, t := range c.G.Taps {
			for p, ci := 0, 0; p < parts; p++ {
				inputs := (c.Cin - ci) / (parts - p)
				x, dw := &c.X[xPix*c.XPitch+ci], &c.DW[PackedIndex(c.Taps, c.InMax, co, int(t), ci)]
				if in == nil {
					convGradLinear(x, dy, dw, inputs, outputs, rows, pitch, ypitch)
				} else {
					convGradIndirect(x, dy, dw, inputs, outputs, rows, pitch, ypitch,
						images, pitch*c.G.InPix, &in[j], tap, &zeros[0])
				}
				ci += inputs
			}
		}
	}
}
