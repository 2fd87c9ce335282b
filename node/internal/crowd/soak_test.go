package crowd_test

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// TestSoak has clients do all kinds of things for a while and looks whether
// the trackers grow. make soak runs it for an hour with 50 clients.
func TestSoak(t *testing.T) {
	t.Parallel()
	length, clients := 8*time.Second, 10
	if text := os.Getenv("P2PSHARE_SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
		clients = 50
	}
	w := newTown(t, 2, 1000, unlimited()).open()
	accounts := w.settle(20) // two groups: everybody can ask to be let into the other one
	key, _, err := host.LoadKey(w.trackerDir(1), false)
	w.ok(err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var visits, done counter
	began, step := time.Now(), max(length/12, 3*time.Second)
	rush := began.Add(length / 20)
	for i := range clients {
		wg.Go(func() {
			u := accounts[i%len(accounts)]
			other := accounts[(i+10)%len(accounts)].Name
			if err := w.rush(rush, u, key, &visits); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			if err := w.live(ctx, u, other, key, &done); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	// The first reading is of a twelfth of the time: minute 5 of an hour. Before that
	// as many have come and gone, in a rush, as trackers remember of: those records
	// have a bound, which others would take half an hour to reach.
	// Those between the first and the last are to be read: do they rise to the end?
	// Both trackers together: clients go from one to the other all the time.
	var first, half, last reading
	for at := step; at <= length; at += step {
		<-time.After(time.Until(began.Add(at)))
		each := w.readings()
		last = each[0].plus(each[1])
		if at == step {
			first = last
			t.Logf("%d came and went in %v to begin with", visits.get(), length/20)
		}
		if at <= length/2 {
			half = last
		}
		t.Logf("after %v and %d commands: %+v, together %+v", at, done.get(), each, last)
	}
	cancel()
	wg.Wait()
	// A tenth, and a little for clients that come and go at that moment.
	few := clients // in a short run some may not have come by the first reading
	if length >= 10*time.Minute {
		few = clients / 10
	}
	within(t, "goroutines", first.goroutines, last.goroutines, 2*few)
	within(t, "descriptors", first.files, last.files, few)
	within(t, "bytes of heap", first.heap, last.heap, heapSlack(length))
	// The rush may still have been felt at the first reading. It is not any more.
	within(t, "bytes of heap, in the second half,", half.heap, last.heap, heapSlack(length))
}

// heapSlack is how many bytes of heap may come beyond a tenth. Trackers remember
// gossip for two minutes, and clients that came and went for some more: by
// minute 5 of an hour that is all there, but it is still coming in a short run.
func heapSlack(length time.Duration) int {
	if length < 10*time.Minute {
		return 32 << 20
	}
	return 2 << 20
}

// reading is what one tracker process takes, or several.
type reading struct{ goroutines, files, heap int }

func (r reading) plus(o reading) reading {
	return reading{r.goroutines + o.goroutines, r.files + o.files, r.heap + o.heap}
}

// readings returns for each tracker the medians of some readings.
func (w *town) readings() []reading {
	w.Helper()
	const times = 9
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	goroutines, files, heap := make([][]int, len(w.trackers)), make([][]int, len(w.trackers)), make([][]int, len(w.trackers))
	for range times {
		<-pause.C
		for i, p := range w.trackers {
			var s trackerState
			p.Ask("collect", &s)
			goroutines[i], files[i], heap[i] = append(goroutines[i], s.Goroutines), append(files[i], p.Files()), append(heap[i], int(s.Heap))
		}
	}
	median := func(all []int) int {
		slices.Sort(all)
		return all[times/2]
	}
	var out []reading
	for i := range w.trackers {
		out = append(out, reading{median(goroutines[i]), median(files[i]), median(heap[i])})
	}
	return out
}

func within(t *testing.T, what string, before, after, slack int) {
	t.Helper()
	if after > before+before/10+slack {
		t.Errorf("%s grew from %d to %d", what, before, after)
	}
}

// rush has clients of a user come and go, one after the other, until a time.
func (w *town) rush(until time.Time, u account, key crypto.PrivKey, visits *counter) error {
	for time.Now().Before(until) {
		c, err := enter(w.entries, u, key)
		if err != nil {
			return err
		}
		c.close()
		visits.add()
	}
	return nil
}

// live is the life of one client: it comes, does this and that, leaves, and
// comes again as a new one, until the context ends.
func (w *town) live(ctx context.Context, u account, other string, key crypto.PrivKey, done *counter) error {
	for ctx.Err() == nil {
		c, err := enter(w.entries, u, key)
		if err != nil {
			return err
		}
		err = w.visit(ctx, c, u, other, done)
		c.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// visit does things of all kinds, but those of which each leaves a fact for good.
func (w *town) visit(ctx context.Context, c *client, u account, other string, done *counter) error {
	ref := &pb.GroupRef{Name: u.Name, Id: u.Group[:]}
	file := &pb.FileRequest{GroupId: u.Group[:], FileId: u.File[:]}
	acts := []func() error{
		func() error { return do(c, pb.TrackerServiceClient.ListGroups, &pb.ListGroupsRequest{}) },
		func() error { return do(c, pb.TrackerServiceClient.ListFiles, &pb.ListFilesRequest{Group: ref}) },
		func() error { return do(c, pb.TrackerServiceClient.ListMembers, &pb.GroupRequest{Group: ref}) },
		func() error { return do(c, pb.TrackerServiceClient.ListSeeders, file) },
		func() error {
			return do(c, pb.TrackerServiceClient.IssueTicket, &pb.IssueTicketRequest{GroupId: u.Group[:]})
		},
		func() error { return do(c, pb.TrackerServiceClient.Renew, &pb.RenewRequest{}) },
		func() error { // a member asks to join: nothing to do
			return do(c, pb.TrackerServiceClient.JoinGroup, &pb.GroupRequest{Group: ref})
		},
		func() error { // a change that takes the place of the one before, stored at both trackers
			return do(c, pb.TrackerServiceClient.JoinGroup, &pb.GroupRequest{Group: &pb.GroupRef{Name: other}})
		},
		func() error { // and back; another client of the same user may have done it
			err := do(c, pb.TrackerServiceClient.LeaveGroup, &pb.GroupRequest{Group: &pb.GroupRef{Name: other}})
			if protocol.CodeOf(err) == protocol.CodeNotMember {
				err = nil
			}
			return err
		},
		func() error { // no such name
			err := do(c, pb.TrackerServiceClient.FindFile, &pb.FindFileRequest{Group: ref, Name: "nothing"})
			if protocol.CodeOf(err) == protocol.CodeNotFound {
				err = nil
			}
			return err
		},
		func() error { c.Withdraw(u.Group, u.File); return nil },
		func() error { c.Offer(u.Group, u.File, false); return nil },
	}
	for range 30 {
		select {
		case <-time.After(time.Duration(rand.IntN(200)) * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
		if err := acts[rand.IntN(len(acts))](); err != nil {
			return err
		}
		done.add()
	}
	return nil
}

func do[Req, Res any](c *client, method trackers.Unary[Req, Res], msg *Req) error {
	_, err := trackers.Call(context.Background(), c.Client, method, msg)
	return err
}
