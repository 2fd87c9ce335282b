package crowd_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// lesson is how long a class may take to register and log in.
const lesson = time.Minute

func TestClassroom(t *testing.T) { classroom(t, 12) }

func TestLongClassroomOfHundred(t *testing.T) {
	long(t)
	classroom(t, 100)
}

// classroom has a class behind one address register and log in at the same
// moment, and then everybody log in at a second client, all under the rates
// that a tracker has by default.
func classroom(t *testing.T, pupils int) {
	w := newTown(t, 2, 1000, nil).open()
	clients := make([]*client, 3*pupils)
	for i := range clients {
		c, err := newClient(w.entries)
		w.ok(err)
		clients[i] = c
	}
	defer func() { (&crowd{clients: clients}).close() }()
	patient := func(what string, took []time.Duration, f func(i int) error) {
		t.Helper()
		began := time.Now()
		var mu sync.Mutex
		busy := 0
		var wg sync.WaitGroup
		for i := range took {
			wg.Go(func() {
				err := f(i)
				for ; worthAnotherTry(err) && time.Since(began) < lesson; err = f(i) {
					mu.Lock()
					busy++
					mu.Unlock()
				}
				if err != nil {
					t.Errorf("%s of pupil %d: %v", what, i, err)
				}
				took[i] = time.Since(began)
			})
		}
		wg.Wait()
		most := took[0]
		for _, d := range took {
			most = max(most, d)
		}
		t.Logf("%d of %s took %v, %d tries found the trackers busy", len(took), what, most.Round(time.Millisecond), busy)
		if most > lesson {
			t.Errorf("%s took %v, at most %v is allowed", what, most, lesson)
		}
	}
	patient("registrations and logins", make([]time.Duration, pupils), func(i int) error {
		_, err := w.join(clients[i], fmt.Sprint("pupil-", i))
		if protocol.CodeOf(err) == protocol.CodeExists { // registered, and too busy for the login
			return w.login(clients[i], fmt.Sprint("pupil-", i))
		}
		return err
	})
	patient("logins", make([]time.Duration, 2*pupils), func(i int) error {
		return w.login(clients[pupils+i], fmt.Sprint("pupil-", i%pupils))
	})
	for i, c := range clients {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		w.ok(c.Settle(ctx))
		cancel()
		if c.at() == "" {
			t.Errorf("client %d is not attached", i)
		}
	}
}

// worthAnotherTry reports whether a person would type the command once more:
// the trackers are busy, or so much so that they seem not to be there.
func worthAnotherTry(err error) bool {
	code := protocol.CodeOf(err)
	return code == protocol.CodeBusy || code == protocol.CodeNoTracker
}

// login logs a client in.
func (w *town) login(c *client, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := trackers.Call(ctx, c.Client, pb.TrackerServiceClient.Login, &pb.LoginRequest{Name: name, Password: password})
	if err != nil {
		return err
	}
	return c.SetSession(r.GetSession(), w.network)
}
