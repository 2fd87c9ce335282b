package tracker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/internal/reexec"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// unlimited are trackers of one network on loopback, each a host of its own
// with its catalog on disk, that limit no rates.
func unlimited(t testing.TB, n int) *network {
	w := newNetwork(t, n)
	for i := range w.cfg {
		w.cfg[i].Log = nil
		w.cfg[i].Limits = noLimits()
	}
	return w
}

// toggle is a change that a client can make again and again: asking to be let
// into a group, and taking that back.
type toggle struct {
	client *tt.Client
	group  string
	asked  bool
}

func (g *toggle) change() error {
	_, err := g.stored()
	return err
}

// stored makes the change and tells on how many trackers it is.
func (g *toggle) stored() (on uint32, err error) {
	g.asked = !g.asked
	msg := &pb.GroupRequest{Group: tt.Group(g.group)}
	if g.asked {
		r, err := tt.Do(g.client, g.client.At().JoinGroup, msg)
		return r.GetStored().GetStoredOn(), err
	}
	r, err := tt.Do(g.client, g.client.At().LeaveGroup, msg)
	return r.GetStored().GetStoredOn(), err
}

// toggles makes n of them, at tracker 1, over groups of an owner who is returned.
func toggles(w *network, n int) (owner *tt.Client, out []*toggle) {
	w.t.Helper()
	const groups = 4
	owner = w.client(1).Enter("owner")
	for i := range groups {
		owner.CreateGroup(fmt.Sprint("group-", i))
	}
	for i := range n {
		if i%groups == 0 {
			out = append(out, &toggle{client: w.client(1).Enter(fmt.Sprint("writer-", i)), group: "group-0"})
			continue
		}
		out = append(out, &toggle{client: out[i-i%groups].client, group: fmt.Sprint("group-", i%groups)})
	}
	return owner, out
}

// measureWrites returns how many changes a second are answered with so many
// writers, each waiting for its answer, and how many of all are on one disk only.
func measureWrites(t testing.TB, writers, changes int) (perSecond float64, alone int) {
	t.Helper()
	w := unlimited(t, 2)
	w.start(1, 2)
	w.together()
	_, all := toggles(w, writers)
	for _, g := range all { // connections, and what is done once
		if err := g.change(); err != nil {
			t.Fatal(err)
		}
	}
	var left, lone atomic.Int64
	left.Store(int64(changes))
	var wg sync.WaitGroup
	begun := time.Now()
	for _, g := range all {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				on, err := g.stored()
				if err != nil {
					t.Error(err)
					return
				}
				if on < 2 {
					lone.Add(1)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	for i, tr := range w.run {
		if s := tr.Status(); s.Connected != 2 || s.Users != len(all)/4+1+min(1, len(all)%4) {
			t.Errorf("tracker %d: %+v", i+1, s)
		}
	}
	return float64(changes) / took.Seconds(), int(lone.Load())
}

// measureVisible makes changes at tracker 1 and returns how long after the
// request each was told to a client at tracker 2, in order.
func measureVisible(t testing.TB, changes int) []time.Duration {
	t.Helper()
	w := unlimited(t, 2)
	w.start(1, 2)
	w.together()
	owner, all := toggles(w, 1)
	w.until("tracker 2 knows the owner", func() bool {
		_, err := tt.Do(owner.Use(w.at(2)), owner.At().ListGroups, &pb.ListGroupsRequest{})
		return err == nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req := connect.NewRequest(&pb.AttachRequest{})
	owner.Sign(req.Header())
	stream, err := owner.At().Attach(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	told, ended := make(chan time.Time, changes), make(chan struct{})
	go func() {
		defer close(ended)
		for stream.Receive() {
			if stream.Msg().GetJoinRequested() != nil {
				told <- time.Now()
			}
		}
	}()
	defer func() {
		cancel()
		<-ended
	}()
	var out []time.Duration
	for range changes {
		begun := time.Now()
		if err := all[0].change(); err != nil {
			t.Fatal(err)
		}
		select {
		case at := <-told:
			out = append(out, at.Sub(begun))
		case <-time.After(tt.Timeout):
			t.Fatal("a change is not told at the other tracker")
		}
		if err := all[0].change(); err != nil { // taken back, which is told to nobody
			t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

func percentile(sorted []time.Duration, p int) time.Duration { return sorted[(len(sorted)-1)*p/100] }

// caughtUp is what it takes a new tracker to hold what another one has.
type caughtUp struct {
	ready, manifests time.Duration // since the start of its process, until it serves and until it has all manifests
	disk             int64         // its own, in bytes
	young, old       int64         // memory of the new and of the other tracker's process at most, in bytes; 0: not known on this system
}

// measureCatchUp has a new tracker catch up with one that holds so many facts,
// each a process of its own.
func measureCatchUp(t testing.TB, facts int) (c caughtUp) {
	t.Helper()
	w := unlimited(t, 2)
	w.start(1)
	if err := tracker.Fill(t.Context(), w.run[0], facts); err != nil {
		t.Fatal(err)
	}
	w.stop(1)
	var ready string
	old := w.process(1)
	old.Answer(&ready)
	begun := time.Now()
	young := w.process(2)
	defer watchMemory(old, &c.old)()
	defer watchMemory(young, &c.young)()
	young.Answer(&ready)
	c.ready = time.Since(begun)
	var want, got holding
	old.Ask("what do you hold", &want)
	young.Ask("what do you hold", &got)
	if got.Facts != want.Facts || got.Facts < facts {
		t.Errorf("the new tracker serves with %d facts of %d", got.Facts, want.Facts)
	}
	tick := time.NewTicker(200 * time.Millisecond) // each look reads the whole list
	defer tick.Stop()
	for got.Manifests < want.Manifests {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("%d manifests of %d", got.Manifests, want.Manifests)
		}
		young.Ask("what do you hold", &got)
	}
	c.manifests = time.Since(begun)
	c.disk = diskSize(t, w, 2)
	return c
}

// watchMemory notes the most memory that a process takes until stop is called.
func watchMemory(p *reexec.Process, most *int64) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			*most = max(*most, p.Memory())
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

func diskSize(t testing.TB, w *network, n int) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(w.cfg[n-1].Dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// measureGrowth changes 100 facts again and again and returns by how much the
// larger of the two trackers' files has grown.
func measureGrowth(t testing.TB, updates int) int64 {
	t.Helper()
	const facts = 100
	w := unlimited(t, 2)
	w.start(1, 2)
	w.together()
	if err := tracker.Fill(t.Context(), w.run[0], facts); err != nil {
		t.Fatal(err)
	}
	before := []int64{diskSize(t, w, 1), diskSize(t, w, 2)}
	if err := tracker.Update(t.Context(), w.run[0], facts, updates); err != nil {
		t.Fatal(err)
	}
	w.until("both hold the same", func() bool { return tracker.Facts(w.run[0]) == tracker.Facts(w.run[1]) })
	return max(diskSize(t, w, 1)-before[0], diskSize(t, w, 2)-before[1])
}
