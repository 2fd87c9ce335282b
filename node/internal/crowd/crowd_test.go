package crowd_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/internal/reexec"
	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// client is one light client.
type client struct {
	*trackers.Client
	host libp2phost.Host

	mu       sync.Mutex
	holder   string // address of the tracker that holds the lease
	attached int    // how often one took it
	events   int    // pushed by trackers
	refused  int    // offers
	ended    error  // the session
}

// newClient opens a client that knows the trackers of a list.
func newClient(entries []roster.Entry) (*client, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	h, err := host.New(host.Options{Key: key})
	if err != nil {
		return nil, err
	}
	c := &client{host: h}
	c.Client, err = trackers.New(trackers.Config{Host: h, Entries: entries, Store: forgetful{}, Sink: c.take})
	if err != nil {
		_ = h.Close()
		return nil, err
	}
	c.Run()
	return c, nil
}

func (c *client) take(s trackers.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s := s.(type) {
	case trackers.Attached:
		c.holder = s.Address
		c.attached++
	case trackers.Detached:
		c.holder = ""
	case trackers.Pushed:
		c.events++
	case trackers.Refused:
		c.refused += len(s.Offers)
	case trackers.LoggedOut:
		c.ended = s.Err
	default:
	}
}

func (c *client) at() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holder
}

func (c *client) close() {
	_ = c.Close()
	_ = c.host.Close()
}

// forgetful is a trackers.Store without a memory.
type forgetful struct{}

func (forgetful) Learned() (map[string][]string, error)   { return nil, nil }
func (forgetful) SetLearned(map[string][]string) error    { return nil }
func (forgetful) Pending() ([][]byte, error)              { return nil, nil }
func (forgetful) SetPending(envelopes [][]byte) (_ error) { return nil }

// crowdJob says what clients to run. It is the first line that a crowd process reads.
type crowdJob struct {
	Info    string
	KeyDir  string // of a tracker, to sign sessions with: a crowd has not the time to log in
	Users   []account
	First   int // number of the first client
	Clients int
	AtOnce  int // how many begin at the same time
}

// account is a user that clients are logged in as.
type account struct {
	User    string
	Session []byte // one that the user was given
	Network protocol.NetworkID
	Group   protocol.GroupID // the user's
	Name    string           // of the group
	File    protocol.FileID  // in the group
	Peer    peer.ID          // that was given the session
}

// crowd is clients that stay attached.
type crowd struct {
	clients []*client
}

// gather opens the clients of a job. Each shows a session of one of the users,
// and offers parts of the file of the user's group.
func gather(job crowdJob) (*crowd, error) {
	entries, err := roster.Read(job.Info)
	if err != nil {
		return nil, err
	}
	key, _, err := host.LoadKey(job.KeyDir, false)
	if err != nil {
		return nil, err
	}
	c := &crowd{clients: make([]*client, job.Clients)}
	work := make(chan int)
	errs := make([]error, job.Clients)
	var wg sync.WaitGroup
	for range max(job.AtOnce, 1) {
		wg.Go(func() {
			for i := range work {
				u := job.Users[(job.First+i)%len(job.Users)]
				c.clients[i], errs[i] = enter(entries, u, key)
			}
		})
	}
	for i := range job.Clients {
		work <- i
	}
	close(work)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// enter opens a client with a session of a user and waits until it is attached.
func enter(entries []roster.Entry, u account, key crypto.PrivKey) (*client, error) {
	c, err := newClient(entries)
	if err != nil {
		return nil, err
	}
	s, err := credential.OpenSession(u.Session, credential.Check{
		Network: u.Network, Remote: u.Peer, Now: time.Now(), Trusted: func(peer.ID) bool { return true },
	}, false)
	if err != nil {
		return c, err
	}
	s.ID, s.Peer = protocol.NewSessionID(), c.host.ID()
	envelope, err := s.Seal(key)
	if err != nil {
		return c, err
	}
	if err := c.SetSession(envelope, u.Network); err != nil {
		return c, err
	}
	c.Offer(u.Group, u.File, false)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Settle(ctx); err != nil {
		return c, fmt.Errorf("client not attached within %v: %w", patience, err)
	}
	return c, nil
}

func (c *crowd) close() {
	var wg sync.WaitGroup
	for _, one := range c.clients {
		if one != nil {
			wg.Go(one.close)
		}
	}
	wg.Wait()
}

// crowdState is how it is with a crowd.
type crowdState struct {
	At       map[string]int // clients by holder; "": nobody holds their lease
	Attached int            // how often trackers took leases
	Events   int
	Refused  int
	Ended    int
}

func (c *crowd) state() crowdState {
	s := crowdState{At: map[string]int{}}
	for _, one := range c.clients {
		one.mu.Lock()
		s.At[one.holder]++
		s.Attached += one.attached
		s.Events += one.events
		s.Refused += one.refused
		if one.ended != nil {
			s.Ended++
		}
		one.mu.Unlock()
	}
	return s
}

// call is a listing call that was made.
type call struct {
	took   time.Duration
	err    error
	holder string // of the client's lease when it began
}

// list makes listing calls at clients of the crowd, each in turn, until the
// context ends.
func (c *crowd) list(ctx context.Context, users []account, callers int) []call {
	var mu sync.Mutex
	var all []call
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			n := i * len(c.clients) / callers
			one, u := c.clients[n], users[n%len(users)]
			pace := time.NewTicker(50 * time.Millisecond)
			defer pace.Stop()
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-pace.C:
				}
				made := call{holder: one.at()}
				began := time.Now()
				if n%2 == 0 {
					_, made.err = trackers.Call(context.Background(), one.Client, pb.TrackerServiceClient.ListGroups, &pb.ListGroupsRequest{})
				} else {
					_, made.err = trackers.Call(context.Background(), one.Client, pb.TrackerServiceClient.ListFiles,
						&pb.ListFilesRequest{Group: &pb.GroupRef{Name: u.Name, Id: u.Group[:]}})
				}
				made.took = time.Since(began)
				mu.Lock()
				all = append(all, made)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

// times returns how long calls took, sorted, of those that match.
func times(all []call, match func(call) bool) (took []time.Duration) {
	for _, c := range all {
		if match(c) {
			took = append(took, c.took)
		}
	}
	slices.Sort(took)
	return took
}

// quantile returns the value that a share q of the sorted values is not above.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(float64(len(sorted))*q), len(sorted)-1)]
}

// beCrowd runs a crowd and answers every request with its state.
func beCrowd(parent *reexec.Parent) error {
	var job crowdJob
	if err := parent.Job(&job); err != nil {
		return err
	}
	c, err := gather(job)
	if err != nil {
		return err
	}
	defer c.close()
	for err = parent.Answer("ready"); err == nil; err = parent.Answer(c.state()) {
		if _, ok := parent.Next(); !ok {
			break
		}
	}
	return err
}
