package replica

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Standing is what another tracker of the list is to this one.
type Standing int

// The standings.
const (
	Away    Standing = iota // it does not answer
	There                   // it is connected, and of this network
	Waits                   // it answers, but one of the two is part of no network yet
	Refuses                 // it is reached, but talks to this one as little as to a stranger
	Foreign                 // it is part of another network
)

// Other is one of the other trackers of the list.
type Other struct {
	ID       peer.ID
	Standing Standing
	InStep   time.Time // end of the last complete exchange; zero: none yet
}

// sureRefusals is how many rounds in a row are refused before it is said of a
// tracker that it does. One that is ending does so, too.
const sureRefusals = 3

// refusalCounts is how long a tracker that has refused this one is taken for a
// part of a network, though it does not answer now. When its list gets this one's
// line it ends the connection itself, to begin anew.
const refusalCounts = time.Minute

// Others returns how the other trackers of the list stand, ordered by ID.
func (r *Replica) Others() (out []Other) {
	blank := r.Network().IsZero()
	for _, l := range r.links.all() {
		l.mu.Lock()
		o := Other{ID: l.id, InStep: l.inStep}
		switch {
		case l.foreign:
			o.Standing = Foreign
		case l.connected:
			o.Standing = There
		case l.refusals >= sureRefusals:
			o.Standing = Refuses
		case l.present && (blank || !l.named):
			o.Standing = Waits
		}
		l.mu.Unlock()
		out = append(out, o)
	}
	return out
}

// away notes that there is no connection: what it said last counts no more.
func (l *link) away() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.present, l.foreign, l.refusals = false, false, 0
}

// noteRefusal notes that a greeting was refused though the connection, with a
// tracker that has proved who it is, stands. That is what a tracker does whose
// list does not name this one: it resets the stream, so that nobody learns more.
// One that is just starting does not know the protocol yet; that is another error.
// One that has answered on this connection knows this tracker, and may have too
// much to do.
func (r *Replica) noteRefusal(l *link, err error) {
	if isTimeout(err) || !errors.Is(err, network.ErrReset) || r.cfg.Host.Network().Connectedness(l.id) != network.Connected {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.present {
		return
	}
	l.refused = time.Now()
	if l.refusals++; l.refusals < sureRefusals {
		l.nudge()
	}
}
