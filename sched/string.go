package sched

import (
	"fmt"
	"strconv"
)

// String returns the reason in a word, fit for a metric's label.
func (r Reason) String() string {
	switch r {
	case Late:
		return "late"
	case Cancelled:
		return "cancelled"
	case Full:
		return "full"
	case Invalid:
		return "invalid"
	case Lost:
		return "lost"
	}
	return "reason " + strconv.Itoa(int(r))
}

// String returns the action on one line.
func (a Action) String() string {
	switch a.Kind {
	case Dispatch:
		s := fmt.Sprintf("dispatch worker=%d batch=%d subnet=%d images=%d ids=%v", a.Worker, a.Batch, a.Subnet, a.Images, a.IDs)
		if a.Load > 0 {
			s += fmt.Sprintf(" load=%v", a.Load)
		}
		return s
	case Drop:
		return fmt.Sprintf("drop %d: %v", a.ID, a.Reason)
	case Wait:
		return fmt.Sprintf("wait until %v", a.Until)
	}
	return "action " + strconv.Itoa(int(a.Kind))
}
