package tracker_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// One name asked for at two trackers at the same moment: one of the two gets it,
// the other is told so, and nothing of the other's request is anywhere. Hashing
// a password takes its time: mostly groups always, users only in the long run.
func TestSameNameAtOnce(t *testing.T) { sameName(t, 100, 10) }

func TestLongSameNameAtOnce(t *testing.T) {
	long(t)
	sameName(t, 1000, 1)
}

// sameName goes through rounds, every so many of which are about a user's name.
func sameName(t *testing.T, rounds, users int) {
	w := unlimited(t, 2)
	w.start(1, 2)
	w.together()
	var owners, guests []*tt.Client
	for n := 1; n <= 2; n++ {
		owners = append(owners, w.client(n).Enter(fmt.Sprint("owner-", n)))
		guests = append(guests, w.client(n))
	}
	owned := 0
	equal := func() {
		t.Helper()
		w.until("both hold the same", func() bool { return tracker.Root(w.run[0]) == tracker.Root(w.run[1]) })
	}
	// cost is how many facts something makes.
	cost := func(f func()) int {
		before := tracker.Facts(w.run[0])
		f()
		return tracker.Facts(w.run[0]) - before
	}
	perGroup := cost(func() { owners[0].CreateGroup("one group") })
	perUser := cost(func() {
		if err := guests[0].Register("one-user"); err != nil {
			t.Fatal(err)
		}
	})
	equal()
	want := tracker.Facts(w.run[0])
	for round := range rounds {
		if owned++; owned > protocol.MaxGroupsOwned-5 {
			owned = 0
			for i := range owners {
				owners[i] = w.client(i + 1).Enter(fmt.Sprintf("owner-%d-%d", i, round))
			}
			want += 2 * (perUser + 1) // and a session each
		}
		name := fmt.Sprint("name-", round)
		claim := func(i int) error {
			if round%users == 0 {
				return guests[i].Register(name)
			}
			_, err := tt.Do(owners[i], owners[i].At().CreateGroup, &pb.CreateGroupRequest{Name: name, Nonce: tt.Nonce()})
			return err
		}
		var errs [2]error
		begin := make(chan struct{})
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				<-begin
				errs[i] = claim(i)
			})
		}
		close(begin)
		wg.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || protocol.CodeOf(errs[1-winner]) != protocol.CodeExists {
			t.Fatalf("round %d: %v, want one success and one E_EXISTS", round, errs)
		}
		if round%users == 0 {
			want += perUser
		} else {
			want += perGroup
		}
	}
	equal()
	for i, tr := range w.run {
		stored, err := tracker.Records(tr)
		if n := tracker.Facts(tr); err != nil || n != want || stored != want {
			t.Errorf("tracker %d holds %d facts and stores %d (%v), want %d", i+1, n, stored, err, want)
		}
	}
}
