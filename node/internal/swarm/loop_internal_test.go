package swarm

import (
	"context"
	"testing"
)

// counted counts its applications.
type counted struct{ n *int }

func (m counted) apply(context.Context, *loop) { *m.n++ }

func (counted) discard() int { return 0 }

// However many messages wait, none is taken and lost.
func TestNoMessageIsLost(t *testing.T) {
	for _, waiting := range []int{0, 1, batch - 1, batch, batch + 1, inboxSize} {
		n := 0
		l := &loop{inbox: make(chan message, inboxSize)}
		for range waiting {
			l.inbox <- counted{&n}
		}
		l.apply(t.Context(), counted{&n})
		if want := min(waiting+1, batch); n != want {
			t.Errorf("%d waiting: %d applied, want %d", waiting, n, want)
		}
		if left := len(l.inbox); n+left != waiting+1 {
			t.Errorf("%d waiting: %d applied and %d left, %d lost", waiting, n, left, waiting+1-n-left)
		}
	}
}
