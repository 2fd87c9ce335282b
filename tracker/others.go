package tracker

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

// others tells of the other trackers of the list: what each is to this one, as
// long as that stays so. The loop of run owns it.
type others struct {
	known map[peer.ID]known
}

// known is what was told of one.
type known struct {
	standing replica.Standing
	warned   bool // its loss, or that something is to be done, and not yet its return
}

// look returns what is to be told of the trackers that have changed since the
// last look. One that is not of the list any more is forgotten: it was removed.
func (o *others) look(list []roster.Entry, now []replica.Other) (out []Activity) {
	next := map[peer.ID]known{}
	for _, e := range list {
		i := slices.IndexFunc(now, func(other replica.Other) bool { return other.ID == e.ID })
		if i < 0 {
			continue // this one, or not tried yet
		}
		k, before := o.known[e.ID]
		if !before || k.standing != now[i].Standing {
			a := told(e, k, now[i].Standing)
			k.standing, k.warned = now[i].Standing, a.Warn || k.warned && !a.Mended
			out = append(out, a)
		}
		next[e.ID] = k
	}
	o.known = next
	return out
}

// told is the line for a tracker that was k and is what is said now.
func told(e roster.Entry, k known, now replica.Standing) Activity {
	a := Activity{Object: named(e), Detail: state(now)}
	switch now {
	case replica.There:
		a.What, a.Result, a.Mended = "tracker connected", "ok", k.warned
	case replica.Waits:
		a.What = "tracker waits"
	case replica.Refuses:
		a.What, a.Warn = "tracker refuses", true
	case replica.Foreign:
		a.What, a.Warn = "tracker of another network", true
	default:
		a.What, a.Warn = "tracker lost", k.standing == replica.There
		if !a.Warn {
			a.What = "tracker not reached"
		}
	}
	return a
}

// named is how the operator knows a tracker: by its place in the list.
func named(e roster.Entry) string {
	return fmt.Sprintf("tracker %d (%s)", e.Number, shortAddr(e.Addr))
}

// shortAddr is HOST:PORT, as people write it.
func shortAddr(addr ma.Multiaddr) string {
	if len(addr) != 2 {
		return addr.String()
	}
	return net.JoinHostPort(addr[0].Value(), addr[1].Value())
}

// state says what a tracker is to this one, and what to do about it.
func state(s replica.Standing) string {
	switch s {
	case replica.There:
		return ""
	case replica.Waits:
		return "it answers; one of the two is part of no network yet"
	case replica.Refuses:
		return "it is reached, but does not know this tracker: its list has to be brought into force there (a SIGHUP or a restart), with this tracker's line in it"
	case replica.Foreign:
		return "it is part of another network than this one, so nothing is exchanged with it. One of the two was begun by mistake: stop that one, " +
			"move catalog.db out of its folder, leave its key there, and start it without --new-network"
	default:
		return "it does not answer; it is tried again every few seconds"
	}
}

// brief is state for a list of several.
func brief(s replica.Standing) string {
	switch s {
	case replica.There:
		return "is connected"
	case replica.Waits:
		return "answers"
	case replica.Refuses:
		return "does not know this one (send it a SIGHUP, or restart it, once its list has this one's line)"
	case replica.Foreign:
		return "is part of another network"
	default:
		return "does not answer"
	}
}

// waitsFor says why a tracker that knows no network has none yet. unasked: nobody
// has to be told how a network begins.
func waitsFor(list []roster.Entry, now []replica.Other, unasked bool) string {
	var parts []string
	alone := true // nobody is there who may be part of a network
	for _, e := range list {
		i := slices.IndexFunc(now, func(other replica.Other) bool { return other.ID == e.ID })
		if i < 0 {
			continue
		}
		parts = append(parts, named(e)+" "+brief(now[i].Standing))
		alone = alone && now[i].Standing == replica.Away
	}
	text := strings.Join(parts, ", ")
	if text == "" {
		text = "there is none"
	}
	if alone && !unasked {
		text += "; if this network has never served anywhere, start one of its trackers, and no second one, with --new-network"
	}
	return text
}

// missing lists the trackers that are not connected, each with what to do.
func missing(list []roster.Entry, now []replica.Other) (out []string) {
	for _, e := range list {
		i := slices.IndexFunc(now, func(other replica.Other) bool { return other.ID == e.ID })
		if i >= 0 && now[i].Standing != replica.There {
			out = append(out, named(e)+": "+state(now[i].Standing))
		}
	}
	return out
}

func there(now []replica.Other) (n int) {
	for _, o := range now {
		if o.Standing == replica.There {
			n++
		}
	}
	return n
}

// slowExchange is from when on it is worth a word that nothing was exchanged
// completely with a tracker that is connected: several rounds.
const slowExchange = 15 * time.Second

// behind lists the trackers that are connected and yet not in step.
func behind(list []roster.Entry, others []replica.Other, now time.Time) (out []string) {
	for _, e := range list {
		i := slices.IndexFunc(others, func(other replica.Other) bool { return other.ID == e.ID })
		if i < 0 || others[i].Standing != replica.There || others[i].InStep.IsZero() {
			continue
		}
		if since := now.Sub(others[i].InStep); since > slowExchange {
			out = append(out, fmt.Sprintf("%s for %v", named(e), since.Round(time.Second)))
		}
	}
	return out
}
