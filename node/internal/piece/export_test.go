package piece

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Stream lets tests bring streams of their own.
type Stream = stream

// NewBareServer is NewServer without a host; Serve brings it streams.
func NewBareServer(cfg ServerConfig) *Server { return newServer(cfg) }

// Serve runs one stream to its end.
func (s *Server) Serve(st Stream, remote peer.ID) { s.serve(st, remote, func() {}) }

// Start runs the leecher's end on a stream.
func Start(st Stream, cfg OpenConfig) *Conn { return start(st, cfg) }

// Waiting returns how many requests wait for a slot, and how many slots are in use.
func (s *Server) Waiting() (waiting, used int) {
	s.turns.mu.Lock()
	defer s.turns.mu.Unlock()
	for _, p := range s.turns.ring {
		for _, q := range p.queues {
			waiting += len(q.waiting)
		}
	}
	return waiting, s.turns.slots - s.turns.free
}

// WithSilence returns cfg with other deadlines: silence within a piece, and a
// window of twice that.
func (cfg ServerConfig) WithSilence(silence time.Duration) ServerConfig {
	cfg.timing = timing{}.orDefaults()
	cfg.timing.silence, cfg.timing.window = silence, 2*silence
	cfg.timing.stall, cfg.timing.tick = silence/4, silence/16
	return cfg
}
