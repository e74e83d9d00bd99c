package serve

// Changes returns a channel that is closed at the next change of what is served, of
// what is ready, or of the workers. Who calls it before looking misses no change:
//
//	for {
//		changed := s.Changes()
//		... // look
//		<-changed
//	}
func (s *Server) Changes() <-chan struct{} {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.pool.changed
}

// changed tells those who wait for a change.
func (s *Server) changed() {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.pool.notify()
}
