package auth

// Occupy takes the only slot of a Hasher until release.
func (h *Hasher) Occupy() (release func()) {
	<-h.turns.join("occupied")
	return h.turns.done
}
