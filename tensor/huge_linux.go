package tensor

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a huge page on most machines.
const hugePage = 2 << 20

// preferHuge asks the system for huge pages where s is large. A slice of weights of
// hundreds of megabytes skips most of their pages, and would wait for the addresses of those
// that it reads (the second-level TLB of a core knows some 3,000). A system that refuses
// gives small pages.
func preferHuge(s []byte) {
	if len(s) < 2*hugePage {
		return
	}
	page := os.Getpagesize()
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(s)))) & (page - 1)
	_ = unix.Madvise(s[skip:skip+(len(s)-skip)&^(page-1)], unix.MADV_HUGEPAGE)
}
