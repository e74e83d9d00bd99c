package bus

import (
	"fmt"
	"net"
	"syscall"
	"testing"
)

// A message under which the connection breaks is sent again; a connection that is never made is not.
func TestBrokenConnections(t *testing.T) {
	for op, want := range map[string]bool{"write": true, "dial": false} {
		err := translate(fmt.Errorf("publish: %w", &net.OpError{Op: op, Net: "tcp", Err: syscall.ECONNRESET}))
		if got := passing(err); got != want {
			t.Errorf("%s: %v passes: %v", op, err, got)
		}
	}
}
