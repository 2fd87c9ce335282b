package auth

// Occupy takes the only slot of a Hasher until release.
func (h *Hasher) Occupy() (release func()) {
	h.queue <- struct{}{}
	h.slots <- struct{}{}
	return h.release
}
