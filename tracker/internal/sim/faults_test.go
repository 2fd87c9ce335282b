package sim

import (
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// maxTrackers bounds what scripts add.
const maxTrackers = 5

// fail makes a fault happen.
func (w *player) fail(h happening, m *member) {
	other := w.members[int(h.size)%len(w.members)]
	switch h.fault {
	case "isolate":
		w.cut(m)
	case "cut":
		w.net.cut(m.id, other.id)
		w.net.cut(other.id, m.id)
	case "cut one way":
		w.net.cut(m.id, other.id)
	case "heal":
		w.heal()
	case "slow":
		w.net.slow(m.id, other.id, time.Duration(h.size%1_500)*time.Millisecond)
	case "kill":
		m.kill()
	case "stop":
		m.stop()
	case "start":
		w.start()
	case "copy":
		w.copies[m] = m.disk.copied()
	case "restore":
		if old := w.copies[m]; len(old) > 0 && w.lose(m, old) {
			m.start()
		}
	case "wipe":
		if w.lose(m, nil) {
			m.wipe()
			m.start()
		}
	case "clock":
		w.setClock(m, time.Duration(int(h.size%1_440)-720)*time.Second)
	case "clock right":
		m.offset.Store(0)
	case "disk full":
		m.disk.setFull(true)
	case "disk free":
		m.disk.setFull(false)
	case "roster less":
		w.dropFromLists(m)
	case "roster whole":
		for _, each := range w.members {
			each.setRoster(infos(w.members))
		}
	case "add tracker":
		if len(w.members) < maxTrackers {
			fresh := w.add()
			fresh.blank = true
			for _, each := range w.members {
				each.setRoster(infos(w.members))
			}
			fresh.start()
		}
	default:
		w.t.Fatalf("no fault %q", h.fault)
	}
}

// dropFromLists takes a tracker off the lists of the others.
func (w *player) dropFromLists(m *member) {
	var rest []*member
	for _, each := range w.members {
		if each != m {
			rest = append(rest, each)
		}
	}
	for _, each := range rest {
		each.setRoster(infos(rest))
	}
}

// setClock sets a clock and notes how far it is off.
func (w *player) setClock(m *member, off time.Duration) {
	m.offset.Store(int64(off))
	w.lead, w.lag = max(w.lead, off), max(w.lag, -off)
}

// lose kills a tracker and leaves its disk with log alone. Where that would be
// the second loss before all were equal again, and answered changes would go
// that had been on two disks, it stays a kill. A first loss that takes such ends
// the test: that is what must not happen.
func (w *player) lose(m *member, log []store.Batch) bool {
	if len(w.live()) == len(w.members) && w.equal() {
		w.damaged = false
	}
	m.kill()
	synctest.Wait() // until the users of this tracker have their answers
	var others []*holding
	begun := len(log) > 0
	for _, o := range w.members {
		if o != m {
			others = append(others, w.holdDisk(o.disk.copied()))
			begun = begun || len(o.disk.copied()) > 0
		}
	}
	if !begun {
		return false // the network would be gone
	}
	promised, alone := w.model.atStake(w.holdDisk(log), others)
	if len(promised) > 0 {
		if !w.damaged {
			w.t.Errorf("%d changes that were answered as stored on two disks were on one, the first %v",
				len(promised), w.model.acked[promised[0]])
		}
		return false
	}
	w.model.forget(alone)
	m.disk.restore(log)
	w.damaged = true
	return true
}
