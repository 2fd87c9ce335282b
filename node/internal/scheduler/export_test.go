package scheduler

// Window returns how many requests a connected peer may have.
func (s *Scheduler) Window(id Peer) int {
	if p := s.byID[id]; p != nil {
		return p.pace.window
	}
	return 0
}

// IsFull reports whether a connected peer may not be asked for more now.
func (s *Scheduler) IsFull(id Peer) bool { return s.byID[id] != nil && s.byID[id].full() }
