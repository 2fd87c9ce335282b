package swarm_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/swarm"
)

// Offences of earlier runs count: who is still banned is not dialed, and who
// was banned within a day and sends a bad piece again is banned for a day.
func TestOffencesOfEarlierRunsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(50)
		away, again := w.add("p0", f, time.Millisecond), w.add("p1", f, time.Millisecond)
		away.corrupt, again.corrupt = true, true
		w.add("p2", f, 10*time.Millisecond)
		var told []swarm.Ban
		now := time.Now()
		r := start(t, w, f, nil, func(cfg *swarm.Config) {
			cfg.Bans = []swarm.Ban{
				{Peer: "p0", Bad: 1, Last: now.Add(-time.Minute), Until: now.Add(9 * time.Minute)},
				{Peer: "p1", Bad: 1, Last: now.Add(-time.Hour), Until: now.Add(-50 * time.Minute)},
			}
			cfg.OnBan = func(b swarm.Ban) { told = append(told, b) }
		})
		r.finish(t, w, f, time.Minute)
		if n := away.dialed(); n != 0 {
			t.Errorf("a banned peer was dialed %d times", n)
		}
		if len(told) != 1 || told[0].Peer != "p1" || told[0].Bad != 2 || told[0].Until.Sub(told[0].Last) != 24*time.Hour {
			t.Errorf("told %+v", told)
		}
	})
}
