package node

import (
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// TestBudget: what may be asked for is what memory there is for it, or less
// under a limit of the rate.
func TestBudget(t *testing.T) {
	const tracker = "/ip4/127.0.0.1/tcp/1"
	for _, tt := range []struct {
		name string
		opts []Option
		want int64
	}{
		{"default", nil, 32 << 20},
		{"least", []Option{WithMemory(MinMemory)}, 2 * protocol.PieceLength},
		{"more", []Option{WithMemory(100 << 20)}, 100 << 20},
		{"a limit that needs less", []Option{WithDownloadLimit(1 << 20)}, 4 << 20},
		{"a limit that would need more", []Option{WithDownloadLimit(1 << 20), WithMemory(2 << 20)}, 2 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newConfig(append(tt.opts, WithDataDir("d"), WithTrackers(tracker)))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.budget(); got != tt.want {
				t.Errorf("%d bytes, want %d", got, tt.want)
			}
		})
	}
}
