package tracker

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

// run looks after what nobody else watches, until Close, and tells the operator
// what he should know.
func (t *Tracker) run() {
	tick := time.NewTicker(sweep)
	defer tick.Stop()
	reason, disk := "not yet asked", false
	var seen others
	patience := time.Now().Add(settling)
	for {
		select {
		case <-tick.C:
			t.presence.Sweep()
		case <-t.replica.Done():
			if err := t.Err(); err != nil {
				t.note(Activity{What: "ended", Result: string(protocol.CodeOf(err)), Detail: err.Error()})
			}
			return
		case <-t.stop:
			return
		}
		now := t.reason()
		early := time.Now().Before(patience)
		if now != reason && (now == "" || !early) {
			t.noteServing(now, reason != "not yet asked")
			reason = now
		}
		if !early && t.isIn(t.roster()) { // else it is a stranger to the others, who say so
			for _, a := range seen.look(t.roster(), t.replica.Others()) {
				t.note(a)
			}
		}
		if d := t.replica.Disk(); disk == d.Since.IsZero() {
			disk = !disk
			t.noteDisk(d)
		}
	}
}

func (t *Tracker) roster() []roster.Entry { return *t.list.Load() }

// reason is why this tracker does not serve, in words for its operator; "" if it does.
func (t *Tracker) reason() string {
	err := t.replica.Serving()
	if err == nil {
		return ""
	}
	text := strings.TrimSuffix(err.Error(), replica.Advice)
	if t.replica.Network().IsZero() {
		partly := false
		t.replica.View(func(c *catalog.Catalog) { partly = c.Len() > 0 })
		text += ": " + waitsFor(t.roster(), t.replica.Others(), partly || !t.cfg.NewNetwork.IsZero())
		if partly {
			text += "; it has begun to catch up, so there is a network. If all the others are gone for ever, move catalog.db away"
		}
	}
	if !t.isIn(t.roster()) {
		text += "; end it once the others have what it has, or put its line back and send it a SIGHUP"
	}
	return text
}

// noteServing tells of a change; before says that the opposite, or another
// reason, was told before.
func (t *Tracker) noteServing(reason string, before bool) {
	if reason == "" {
		t.note(Activity{What: "serving", Result: "ok", Mended: before})
		return
	}
	log.Warnw("takes no requests", "reason", reason)
	t.note(Activity{What: "not serving", Result: string(protocol.CodeBusy), Detail: reason, Warn: true})
}

func (t *Tracker) noteDisk(d replica.Disk) {
	if d.Since.IsZero() {
		t.note(Activity{What: "disk", Result: "ok", Detail: "the catalog in " + protocol.Quote(t.cfg.Dir) + " can be written again", Mended: true})
		return
	}
	t.note(Activity{What: "disk", Result: string(protocol.CodeTrackerFull), Detail: t.trouble(d), Warn: true})
}

// trouble says what is wrong with the disk, and what to do; "" if nothing is.
func (t *Tracker) trouble(d replica.Disk) string {
	if d.Since.IsZero() {
		return ""
	}
	folder, since := protocol.Quote(t.cfg.Dir), d.Since.UTC().Format(time.RFC3339)
	if errors.Is(d.Err, syscall.ENOSPC) {
		return fmt.Sprintf("the disk of the folder %s is full since %s; changes are refused, reading goes on. Make room there: it then goes on by itself", folder, since)
	}
	return fmt.Sprintf("the catalog in %s cannot be written since %s (%v); changes are refused, reading goes on. Once it can be written it goes on by itself",
		folder, since, d.Err)
}
