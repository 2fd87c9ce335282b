package replica

import (
	"log/slog"
	"testing"
)

// pubsub says a lot at level debug, for every message and peer.
func TestPubsubLogsAtOurLevel(t *testing.T) {
	h := pubsubLog()
	if h.Enabled(t.Context(), slog.LevelDebug) || h.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("pubsub logs what nobody has asked for")
	}
	if !h.Enabled(t.Context(), slog.LevelError) {
		t.Error("pubsub's errors are lost")
	}
}
