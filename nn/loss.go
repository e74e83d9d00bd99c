package nn

import "math"

// softmax writes the softmax of row z into p and returns the log of its normaliser.
func softmax(p, z []float32) float64 {
	m := z[0]
	for _, v := range z[1:] {
		m = max(m, v)
	}
	var sum float64
	for j, v := range z {
		e := math.Exp(float64(v - m))
		p[j] = float32(e)
		sum += e
	}
	for j := range p {
		p[j] = float32(float64(p[j]) / sum)
	}
	return float64(m) + math.Log(sum)
}

// Softmax writes the class probabilities of n rows of logits. Rows of both have the
// given pitch; classes are the first entries of a row.
func Softmax(probs, logits []float32, n, classes, pitch int) {
	for i := range n {
		softmax(probs[i*pitch:][:classes], logits[i*pitch:][:classes])
	}
}

// CrossEntropy returns the mean loss of n rows of logits against labels smoothed by
// smooth (the true class gets 1 − smooth + smooth/classes, the others smooth/classes),
// and writes weight times its gradient to dlogits (padding entries become 0).
func CrossEntropy(dlogits, logits []float32, labels []int32, n, classes, pitch int, smooth, weight float32) float64 {
	var loss float64
	off := float64(smooth) / float64(classes)
	scale := weight / float32(n)
	for i := range n {
		z, d := logits[i*pitch:][:classes], dlogits[i*pitch:][:pitch]
		clear(d[classes:])
		lse := softmax(d[:classes], z)
		for j, v := range z {
			t := off
			if int32(j) == labels[i] {
				t += 1 - float64(smooth)
			}
			loss -= t * (float64(v) - lse)
			d[j] = (d[j] - float32(t)) * scale
		}
	}
	return loss / float64(n)
}

// Distill returns the mean cross-entropy of n rows of logits against the teacher's
// probabilities q (soft labels only, temperature 1), and writes weight times its
// gradient to dlogits.
func Distill(dlogits, logits, q []float32, n, classes, pitch int, weight float32) float64 {
	var loss float64
	scale := weight / float32(n)
	for i := range n {
		z, d, t := logits[i*pitch:][:classes], dlogits[i*pitch:][:pitch], q[i*pitch:][:classes]
		clear(d[classes:])
		lse := softmax(d[:classes], z)
		for j, v := range z {
			loss -= float64(t[j]) * (float64(v) - lse)
			d[j] = (d[j] - t[j]) * scale
		}
	}
	return loss / float64(n)
}

// Correct counts the rows whose largest logit is that of the label; a row with NaN
// counts as wrong.
func Correct(logits []float32, labels []int32, n, classes, pitch int) int {
	right := 0
	for i := range n {
		if Argmax(logits[i*pitch:][:classes]) == int(labels[i]) {
			right++
		}
	}
	return right
}

// Argmax returns the index of the largest value, the first of equals, or -1 if any value
// is NaN.
func Argmax(z []float32) int {
	best := 0
	for j, v := range z {
		if v != v {
			return -1
		}
		if v > z[best] {
			best = j
		}
	}
	return best
}
