package sched

// heap is a binary heap whose elements know their places in it, so that one can
// be moved or removed in the middle.
type heap[T placed[T]] []T

// placed is an element of a heap.
type placed[T any] interface {
	before(T) bool
	place() *int
}

func (h *heap[T]) push(x T) {
	*x.place() = len(*h)
	*h = append(*h, x)
	h.up(len(*h) - 1)
}

func (h *heap[T]) remove(x T) {
	i, last := *x.place(), len(*h)-1
	h.swap(i, last)
	clear((*h)[last:])
	*h = (*h)[:last]
	if i < last {
		h.fix(i)
	}
}

// fix restores the order after the element at i has changed.
func (h heap[T]) fix(i int) {
	h.down(i)
	h.up(i)
}

func (h heap[T]) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	*h[i].place(), *h[j].place() = i, j
}

func (h heap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h heap[T]) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].before(h[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
