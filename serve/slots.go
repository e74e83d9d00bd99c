package serve

// slotBits of an ID are the index of its slot; the rest rises with arrival.
const slotBits = 24

// slots finds calls by ID. IDs rise in the order of put, so that the scheduler
// can order by them, and lead to their call without a map.
type slots struct {
	calls []*call
	taken []uint64 // by slot: the ID that holds it
	free  []int
	used  int
	seq   uint64
}

func (s *slots) put(c *call) (id uint64) {
	if len(s.free) == 0 {
		s.free = append(s.free, len(s.calls))
		s.calls = append(s.calls, nil)
		s.taken = append(s.taken, 0)
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.seq++
	s.used++
	id = s.seq<<slotBits | uint64(i)
	s.calls[i], s.taken[i] = c, id
	return id
}

// get returns the call of an ID that is in use.
func (s *slots) get(id uint64) *call { return s.calls[id&(1<<slotBits-1)] }

// take returns the call of an ID and ends its use.
func (s *slots) take(id uint64) *call {
	i := int(id & (1<<slotBits - 1))
	c := s.calls[i]
	s.calls[i], s.taken[i] = nil, 0
	s.free = append(s.free, i)
	s.used--
	return c
}

// ids appends the IDs in use.
func (s *slots) ids(dst []uint64) []uint64 {
	for _, id := range s.taken {
		if id != 0 {
			dst = append(dst, id)
		}
	}
	return dst
}
