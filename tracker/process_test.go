package tracker_test

import (
	"os"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/internal/reexec"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

func TestMain(m *testing.M) {
	os.Exit(reexec.Main(m, map[string]func(*reexec.Parent) error{"tracker": beTracker}))
}

// trackerJob is what a tracker with a process of its own is to be.
type trackerJob struct {
	List   string // the lines of TRACKER_INFO
	Number int
	Dir    string
}

// holding is what such a tracker answers to any request.
type holding struct{ Facts, Manifests int }

// beTracker runs a tracker that limits no rates and starts no network.
func beTracker(parent *reexec.Parent) error {
	var job trackerJob
	if err := parent.Job(&job); err != nil {
		return err
	}
	entries, err := roster.Parse("TRACKER_INFO", []byte(job.List))
	if err != nil {
		return err
	}
	t, err := tracker.New(tracker.Config{Trackers: entries, Number: job.Number, Dir: job.Dir, MaxClients: 50, Limits: noLimits()})
	if err != nil {
		return err
	}
	<-t.Ready()
	if err := parent.Answer("ready"); err != nil {
		return err
	}
	for _, ok := parent.Next(); ok; _, ok = parent.Next() {
		h := holding{Facts: tracker.Facts(t)}
		if h.Manifests, err = tracker.Manifests(t); err != nil {
			return err
		}
		if err := parent.Answer(h); err != nil {
			return err
		}
	}
	return t.Close()
}

// process starts a tracker of the network as a process of its own, and does not
// wait until it is ready.
func (w *network) process(n int) *reexec.Process {
	w.t.Helper()
	var list strings.Builder
	for _, e := range w.cfg[n-1].Trackers {
		list.WriteString(e.Text + "\n")
	}
	return reexec.Start(w.t, "tracker "+w.cfg[n-1].Trackers[n-1].Addr.String(), "tracker",
		trackerJob{List: list.String(), Number: n, Dir: w.cfg[n-1].Dir})
}

// noLimits lifts all rates.
func noLimits() map[string]string {
	limits := map[string]string{}
	for _, l := range tracker.Limits() {
		limits[l.Name] = "off"
	}
	return limits
}
