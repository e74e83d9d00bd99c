package supernet

import "weft/nn"

// evalBatch is how many images Correct runs at once.
const evalBatch = 64

// Correct counts the images, [n][H][W][C] bytes, that the plan classifies as labelled.
func (w *Worker) Correct(p *Plan, images []uint8, labels []int32) int {
	size := p.Input.Size()
	x := make([]float32, evalBatch*size)
	logits := make([]float32, evalBatch*p.Classes)
	right := 0
	for lo := 0; lo < len(labels); lo += evalBatch {
		n := min(evalBatch, len(labels)-lo)
		for i, b := range images[lo*size : (lo+n)*size] {
			x[i] = float32(b) * (1.0 / 255)
		}
		w.Run(p, x, n, logits)
		right += nn.Correct(logits, labels[lo:], n, p.Classes, p.Classes)
	}
	return right
}
