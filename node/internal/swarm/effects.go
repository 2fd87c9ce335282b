package swarm

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
)

// carryOut does what the scheduler decided. None of it waits.
func (l *loop) carryOut(ctx context.Context, e scheduler.Effect) {
	switch e := e.(type) {
	case scheduler.Fetch:
		l.fetch(e)
	case scheduler.CancelFetch:
		l.cancel(e.Peer, e.Piece)
	case scheduler.Reclaim:
		l.cancel(e.Peer, e.Piece)
	case scheduler.Verify:
		l.verify(ctx, e)
	case scheduler.Ban:
		l.ban(e)
	case scheduler.FindPeers:
		l.cfg.FindPeers()
	case scheduler.Finish:
		l.over = true
	case scheduler.Fail:
		l.over, l.err = true, e.Err
	}
}

func (l *loop) fetch(e scheduler.Fetch) {
	if s := l.roster.session(e.Peer); s != nil {
		s.link.Request(e.Piece)
	}
}

func (l *loop) cancel(id scheduler.Peer, piece int) {
	if s := l.roster.session(id); s != nil {
		s.link.Cancel(piece)
	}
}

func (l *loop) ban(e scheduler.Ban) {
	log.Debugw("peer sent away", "peer", peer.ID(e.Peer), "for", e.For, "err", e.Code)
	now := time.Now()
	if e.Bad > 0 {
		l.roster.past[peer.ID(e.Peer)] = now.Add(e.For)
		l.cfg.OnBan(Ban{Peer: peer.ID(e.Peer), Bad: e.Bad, Last: now, Until: now.Add(e.For)})
	}
	if entry := l.roster.byID[peer.ID(e.Peer)]; entry != nil {
		entry.banned = now.Add(e.For)
	}
	if s := l.roster.session(e.Peer); s != nil {
		l.leave(s)
	}
}

func (l *loop) verify(ctx context.Context, e scheduler.Verify) {
	w := &write{piece: e.Piece, data: l.arrived}
	l.arrived = nil
	w.from.ID = peer.ID(e.Peer)
	if entry := l.roster.byID[w.from.ID]; entry != nil {
		w.from = entry.peer
	}
	l.begin(ctx, w)
}
