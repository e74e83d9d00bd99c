//go:build !purego

package kernel

func nearAVX2(dst []float32, n *Near) {
	c := n.base.channels
	whole := c &^ 7
	if whole > 0 {
		nearBase(&dst[0], &n.base.values[0], &n.codes[0], whole, c, n.at[0], n.step[0], n.at[1], n.step[1])
	}
	n.widenFrom(whole, dst)
}
