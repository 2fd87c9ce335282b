package crowd_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// patience is how long a test waits for what should take seconds at most.
const patience = 60 * time.Second

const password = "correct horse battery"

// unlimited lifts the rates that a crowd from one address meets.
func unlimited() map[string]string {
	return map[string]string{"registrations": "off", "logins": "off", "logins-total": "off", "ops": "off"}
}

// town is a network of trackers, each a process.
type town struct {
	testing.TB
	dir      string
	info     string
	network  protocol.NetworkID
	clients  int // max-clients
	limits   map[string]string
	entries  []roster.Entry
	trackers []process
}

// newTown starts trackers and waits until they serve and know each other.
func newTown(t testing.TB, n, maxClients int, limits map[string]string) *town {
	t.Helper()
	w := &town{TB: t, dir: t.TempDir(), network: protocol.NewNetworkID(), clients: maxClients, limits: limits}
	w.info = filepath.Join(w.dir, "tracker_info.txt")
	var list strings.Builder
	for i := range n {
		key, _, err := host.LoadKey(w.trackerDir(i+1), true)
		w.ok(err)
		id, err := peer.IDFromPrivateKey(key)
		w.ok(err)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		w.ok(err)
		addr, _, err := roster.ParseAddr(l.Addr().String())
		w.ok(err)
		defer l.Close()
		fmt.Fprintln(&list, roster.Format(addr, id))
	}
	w.ok(os.WriteFile(w.info, []byte(list.String()), 0o644))
	var err error
	w.entries, err = roster.Read(w.info)
	w.ok(err)
	w.trackers = make([]process, n)
	return w
}

func (w *town) trackerDir(n int) string { return filepath.Join(w.dir, fmt.Sprint("tracker-", n)) }

// open starts all trackers and waits until they serve and know each other.
func (w *town) open() *town {
	w.Helper()
	for i := range w.trackers {
		w.trackers[i] = start(w, fmt.Sprint("tracker ", i+1), "tracker", trackerJob{
			Info: w.info, Dir: w.trackerDir(i + 1), Number: i + 1, Network: w.network.String(),
			MaxClients: w.clients, Limits: w.limits, Profile: os.Getenv("P2PSHARE_CROWD_PROFILE") + fmt.Sprint(i+1),
		})
	}
	for _, p := range w.trackers {
		var ready string
		p.Answer(&ready)
	}
	w.within(patience, "all trackers are connected", func() bool {
		for _, p := range w.trackers {
			if p.state().Connected != len(w.trackers) {
				return false
			}
		}
		return true
	})
	return w
}

func (w *town) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// within waits until a condition holds and returns how long that took.
func (w *town) within(limit time.Duration, what string, cond func() bool) time.Duration {
	w.Helper()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Since(began) > limit {
			w.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
	return time.Since(began)
}

// settle registers users and logs each in once, some at the same time. Each ten
// of them are a group with one file.
func (w *town) settle(users int) []account {
	w.Helper()
	accounts := make([]account, users)
	clients := make([]*client, users)
	w.each(users, func(i int) (err error) {
		if clients[i], err = newClient(w.entries); err != nil {
			return err
		}
		accounts[i], err = w.join(clients[i], fmt.Sprint("user-", i))
		return err
	})
	defer func() { (&crowd{clients: clients}).close() }()
	const size = 10
	w.each((users+size-1)/size, func(g int) error {
		return w.found(fmt.Sprint("group ", g), clients[g*size:min((g+1)*size, users)], accounts[g*size:min((g+1)*size, users)])
	})
	return accounts
}

// each calls f with the numbers below n, eight at the same time.
func (w *town) each(n int, f func(i int) error) {
	w.Helper()
	errs := make([]error, n)
	places := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		wg.Go(func() {
			errs[i] = f(i)
			<-places
		})
	}
	wg.Wait()
	for _, err := range errs {
		w.ok(err)
	}
}

// join registers a user and logs in.
func (w *town) join(c *client, name string) (account, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nonce := protocol.NewNonce()
	if _, err := trackers.Call(ctx, c.Client, pb.TrackerServiceClient.Register,
		&pb.RegisterRequest{Name: name, Password: password, Nonce: nonce[:]}); err != nil {
		return account{}, fmt.Errorf("register %s: %w", name, err)
	}
	r, err := trackers.Call(ctx, c.Client, pb.TrackerServiceClient.Login, &pb.LoginRequest{Name: name, Password: password})
	if err != nil {
		return account{}, fmt.Errorf("log in %s: %w", name, err)
	}
	a := account{User: name, Session: r.GetSession(), Network: w.network, Peer: c.host.ID()}
	return a, c.SetSession(a.Session, a.Network)
}

// found makes a group of clients' users with a file in it.
func (w *town) found(name string, members []*client, accounts []account) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nonce := protocol.NewNonce()
	owner := members[0]
	g, err := trackers.Call(ctx, owner.Client, pb.TrackerServiceClient.CreateGroup, &pb.CreateGroupRequest{Name: name, Nonce: nonce[:]})
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	ref := &pb.GroupRef{Name: name, Id: g.GetGroupId()}
	for i, m := range members[1:] {
		user := &pb.UserRef{Name: accounts[i+1].User}
		if err := untilKnown(ctx, func() error {
			_, err := trackers.Call(ctx, m.Client, pb.TrackerServiceClient.JoinGroup, &pb.GroupRequest{Group: ref})
			return err
		}); err != nil {
			return fmt.Errorf("join %s: %w", name, err)
		}
		if err := untilKnown(ctx, func() error {
			_, err := trackers.Call(ctx, owner.Client, pb.TrackerServiceClient.AnswerRequest, &pb.AnswerRequestRequest{Group: ref, User: user, Accept: true})
			return err
		}); err != nil {
			return fmt.Errorf("accept in %s: %w", name, err)
		}
	}
	file, err := share(ctx, owner, ref, name)
	if err != nil {
		return fmt.Errorf("share in %s: %w", name, err)
	}
	for i := range accounts {
		accounts[i].Group, accounts[i].Name, accounts[i].File = protocol.GroupID(g.GetGroupId()), name, file
	}
	return nil
}

// untilKnown repeats what depends on news that travel between trackers.
func untilKnown(ctx context.Context, f func() error) error {
	for {
		err := f()
		if code := protocol.CodeOf(err); err == nil || code != protocol.CodeNotFound && code != protocol.CodeBusy {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// share puts the description of a file and shares it.
func share(ctx context.Context, c *client, group *pb.GroupRef, name string) (protocol.FileID, error) {
	m := &protocol.Manifest{Name: name + ".bin", Size: 2 * protocol.MinPieceLength, PieceLength: protocol.MinPieceLength}
	for i := range 2 {
		m.Pieces = append(m.Pieces, protocol.PieceHash{SHA1: protocol.SHA1{byte(i)}})
	}
	data := m.Encode()
	id := protocol.ManifestID(data)
	err := c.Do(ctx, func(ctx context.Context, rpc pb.TrackerServiceClient) error {
		put := rpc.PutManifest(ctx)
		if err := put.Send(&pb.PutManifestRequest{GroupId: group.GetId(), FileId: id[:], Data: data}); err != nil {
			return err
		}
		if _, err := put.CloseAndReceive(); err != nil {
			return err
		}
		_, err := rpc.ShareFile(ctx, connect.NewRequest(&pb.ShareFileRequest{Group: group, FileId: id[:]}))
		return err
	})
	return id, err
}
