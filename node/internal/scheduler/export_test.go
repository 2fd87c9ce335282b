package scheduler

// Window returns how many requests a connected peer may have.
func (s *Scheduler) Window(id Peer) int {
	if p := s.byID[id]; p != nil {
		return p.pace.window
	}
	return 0
}
