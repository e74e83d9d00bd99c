package oip

import (
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
)

// maxVisits bounds the streams of a connection that need no key where others do:
// they last as long as the connection, and cost whoever opens them nothing.
const maxVisits = 16

// visitors counts such streams by connection.
type visitors struct {
	mu   sync.Mutex
	open map[string]int // by the address at the other end
}

// admit has the handler answer a stream, unless its connection has too many.
func (v *visitors) admit(handler grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, stream grpc.ServerStream) error {
		from := ""
		if p, ok := peer.FromContext(stream.Context()); ok {
			from = p.Addr.String()
		}
		if !v.enter(from) {
			return grpcError(&statusError{grpc: codes.ResourceExhausted, text: "this connection has as many streams as it may without a key: end one of them"})
		}
		defer v.leave(from)
		return handler(srv, stream)
	}
}

func (v *visitors) enter(from string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open[from] >= maxVisits {
		return false
	}
	v.open[from]++
	return true
}

func (v *visitors) leave(from string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open[from]--; v.open[from] == 0 {
		delete(v.open, from)
	}
}
