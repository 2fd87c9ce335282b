package rpc_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// pair is two members of one group.
func pair(w *world) (ada, bob *tt.Client, gid []byte) {
	ada, bob = w.user("ada"), w.user("bob")
	gid = ada.CreateGroup("g")
	ada.LetIn("g", bob, "bob")
	return ada, bob, gid
}

func TestShareAndList(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob, gid := pair(w)
	m := tt.Manifest("lecture 07.mp4", 3, 1)
	id := m.ID()
	first, err := ada.Share("g", m)
	if err != nil || first.GetAlready() || first.GetName() != m.Name {
		t.Fatalf("ShareFile = %v, %v", first, err)
	}
	if again, err := ada.Share("g", m); err != nil || !again.GetAlready() {
		t.Errorf("ShareFile again = %v, %v, want already", again, err)
	}
	if second, err := bob.Share("g", m); err != nil || second.GetAlready() {
		t.Errorf("ShareFile by another member = %v, %v", second, err)
	}
	r, err := tt.Do(bob, bob.At().ListFiles, &pb.ListFilesRequest{Group: tt.Group("G")})
	if err != nil || len(r.GetFiles()) != 1 {
		t.Fatalf("ListFiles = %v, %v, want one file", r, err)
	}
	f := r.GetFiles()[0]
	if f.GetName() != m.Name || f.GetSize() != m.Size || !bytes.Equal(f.GetSha1(), m.SHA1[:]) ||
		!bytes.Equal(f.GetId(), id[:]) || f.GetUploader() != "ada" || f.GetSeeders() != 0 {
		t.Errorf("ListFiles = %v", f)
	}
	found, err := tt.Do(bob, bob.At().FindFile, &pb.FindFileRequest{Group: tt.Group("g"), Name: "Lecture 07.MP4"})
	if err != nil || !bytes.Equal(found.GetFile().GetId(), id[:]) {
		t.Errorf("FindFile in another case = %v, %v", found, err)
	}
	_, err = tt.Do(bob, bob.At().FindFile, &pb.FindFileRequest{Group: tt.Group("g"), Name: "lecture 08.mp4"})
	wantCode(t, "FindFile of nothing", err, protocol.CodeNotFound)

	got, err := bob.Manifest(&pb.FileRequest{GroupId: gid, FileId: id[:]})
	if err != nil || !bytes.Equal(got, m.Encode()) {
		t.Errorf("GetManifest: %d bytes, %v, want %d", len(got), err, len(m.Encode()))
	}
	stop := &pb.StopShareRequest{GroupId: gid, FileId: id[:]}
	for _, c := range []*tt.Client{ada, bob} {
		if r, err := tt.Do(c, c.At().StopShare, stop); err != nil || r.GetAlready() {
			t.Errorf("StopShare = %v, %v", r, err)
		}
	}
	if r, err := tt.Do(ada, ada.At().StopShare, stop); err != nil || !r.GetAlready() {
		t.Errorf("StopShare again = %v, %v, want already", r, err)
	}
	if r, err := tt.Do(bob, bob.At().ListFiles, &pb.ListFilesRequest{Group: tt.Group("g")}); err != nil || len(r.GetFiles()) != 0 {
		t.Errorf("ListFiles after both stopped = %v, %v, want none", r, err)
	}
}

func TestNamesOfFiles(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob, _ := pair(w)
	one, two := tt.Manifest("notes.txt", 1, 1), tt.Manifest("Notes.txt", 1, 2)
	if _, err := ada.Share("g", one); err != nil {
		t.Fatal(err)
	}
	_, err := bob.Share("g", two)
	wantCode(t, "new content under another's name", err, protocol.CodeExists)
	if _, err := ada.Share("g", two); err != nil {
		t.Fatalf("new content under one's own name: %v", err)
	}
	r, err := tt.Do(bob, bob.At().FindFile, &pb.FindFileRequest{Group: tt.Group("g"), Name: "notes.txt"})
	if id := two.ID(); err != nil || !bytes.Equal(r.GetFile().GetId(), id[:]) {
		t.Errorf("the name means %v, %v, want the new content", r, err)
	}
}

func TestPutManifest(t *testing.T) {
	w := newWorld(t, options{})
	ada, _, gid := pair(w)
	long := tt.Manifest("long.bin", 30_000, 1) // 1.5 MB in 24 chunks
	id := long.ID()
	_, err := tt.Do(ada, ada.At().ShareFile, &pb.ShareFileRequest{Group: tt.Group("g"), FileId: id[:]})
	wantCode(t, "ShareFile without its manifest", err, protocol.CodeNotFound)
	if known, err := ada.Put(gid, id, long.Encode()); err != nil || known {
		t.Fatalf("PutManifest = %v, %v", known, err)
	}
	if _, err := tt.Do(ada, ada.At().ShareFile, &pb.ShareFileRequest{Group: tt.Group("g"), FileId: id[:]}); err != nil {
		t.Fatal(err)
	}
	if known, err := ada.Put(gid, id, long.Encode()); err != nil || !known {
		t.Errorf("PutManifest again = %v, %v, want known", known, err)
	}
	got, err := ada.Manifest(&pb.FileRequest{GroupId: gid, FileId: id[:]})
	if err != nil || !bytes.Equal(got, long.Encode()) {
		t.Errorf("GetManifest: %d bytes, %v, want %d", len(got), err, len(long.Encode()))
	}

	good := tt.Manifest("good.bin", 2, 2).Encode()
	tests := []struct {
		name string
		id   protocol.FileID
		data []byte
		want protocol.Code
	}{
		{"another id", protocol.FileID{1}, good, protocol.CodeBadManifest},
		{"nonsense under its own id", protocol.ManifestID([]byte("nonsense")), []byte("nonsense"), protocol.CodeBadManifest},
		{"too long", protocol.FileID{2}, make([]byte, protocol.MaxManifest+1), protocol.CodeLimit},
		{"a name with a path", protocol.ManifestID(tt.Manifest("../x", 1, 1).Encode()), tt.Manifest("../x", 1, 1).Encode(), protocol.CodeName},
		{"a name that drives terminals", protocol.ManifestID(tt.Manifest("a\x1b[2J", 1, 1).Encode()), tt.Manifest("a\x1b[2J", 1, 1).Encode(), protocol.CodeName},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ada.Put(gid, tc.id, tc.data)
			wantCode(t, "PutManifest", err, tc.want)
		})
	}
}

func TestManifestQuota(t *testing.T) {
	w := newWorld(t, options{limits: map[string]string{"manifest-bytes": "1/h,20000"}})
	ada, _, gid := pair(w)
	m := tt.Manifest("a.bin", 20, 1)
	if _, err := ada.Put(gid, m.ID(), m.Encode()); err != nil {
		t.Fatal(err)
	}
	m = tt.Manifest("b.bin", 20, 2)
	_, err := ada.Put(gid, m.ID(), m.Encode())
	wantCode(t, "more bytes than allowed", err, protocol.CodeRate)
}

func TestTicket(t *testing.T) {
	w := newWorld(t, options{})
	_, bob, gid := pair(w)
	r, err := tt.Do(bob, bob.At().IssueTicket, &pb.IssueTicketRequest{GroupId: gid})
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := credential.OpenTicket(r.GetTicket(), credential.Check{
		Network: w.replica.Network(), Remote: bob.Host.ID(), Now: w.now(),
		Trusted: func(id peer.ID) bool { return id == w.info.ID },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ticket.Group[:], gid) || !bytes.Equal(ticket.User[:], bob.User) || ticket.Stamp.IsZero() {
		t.Errorf("ticket = %+v", ticket)
	}
}

func TestAnnounceAndSeeders(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob, gid := pair(w)
	eve := w.user("eve")
	m := tt.Manifest("film.mkv", 2, 1)
	if _, err := ada.Share("g", m); err != nil {
		t.Fatal(err)
	}
	id := m.ID()
	offer := func(complete bool) *pb.AnnounceRequest {
		return &pb.AnnounceRequest{Offer: []*pb.Offer{{GroupId: gid, FileId: id[:], Complete: complete}}}
	}
	_, err := tt.Do(ada, ada.At().Announce, offer(true))
	wantCode(t, "Announce without a stream", err, protocol.CodeBusy)

	ada.Attach("/ip4/127.0.0.1/tcp/4001")
	events := bob.Attach("/ip4/127.0.0.1/tcp/4002")
	eve.Attach()
	refused := func(c *tt.Client, req *pb.AnnounceRequest) int {
		t.Helper()
		r, err := tt.Do(c, c.At().Announce, req)
		if err != nil {
			t.Fatal(err)
		}
		return len(r.GetRefused())
	}
	unknown := &pb.AnnounceRequest{Offer: []*pb.Offer{{GroupId: gid, FileId: make([]byte, 32)}, {GroupId: gid}}}
	for _, tc := range []struct {
		name string
		got  int
		want int
	}{
		{"whole, shared", refused(ada, offer(true)), 0},
		{"whole, not shared", refused(bob, offer(true)), 1},
		{"parts, by a member", refused(bob, offer(false)), 0},
		{"parts, by a stranger", refused(eve, offer(false)), 1},
		{"an unknown file and a broken offer", refused(bob, unknown), 2},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %d refused, want %d", tc.name, tc.got, tc.want)
		}
	}

	list := func(c *tt.Client) []*pb.Seeder {
		t.Helper()
		r, err := tt.Do(c, c.At().ListSeeders, &pb.FileRequest{GroupId: gid, FileId: id[:]})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetSeeders()
	}
	if got := list(bob); len(got) != 1 || got[0].GetPeerId() != ada.ID() || !got[0].GetComplete() || got[0].GetUser() != "ada" ||
		fmt.Sprint(got[0].GetAddrs()) != "[/ip4/127.0.0.1/tcp/4001]" {
		t.Errorf("seeders for bob = %v, want ada alone", got)
	}
	if got := list(ada); len(got) != 1 || got[0].GetPeerId() != bob.ID() || got[0].GetComplete() {
		t.Errorf("seeders for ada = %v, want bob alone", got)
	}
	if r, err := tt.Do(bob, bob.At().ListFiles, &pb.ListFilesRequest{Group: tt.Group("g")}); err != nil || r.GetFiles()[0].GetSeeders() != 1 {
		t.Errorf("ListFiles = %v, %v, want one seeder", r, err)
	}

	// Bob, who is fetching, hears of it when ada stops and comes back.
	withdraw := &pb.AnnounceRequest{Withdraw: []*pb.Offer{{GroupId: gid, FileId: id[:]}}}
	if n := refused(ada, withdraw); n != 0 {
		t.Errorf("withdraw: %d refused", n)
	}
	events.Expect("that ada is gone", func(e *pb.Event) bool {
		return e.GetSeeder().GetSeeder().GetPeerId() == ada.ID() && e.GetSeeder().GetGone()
	})
	refused(ada, offer(true))
	events.Expect("that ada is back", func(e *pb.Event) bool {
		s := e.GetSeeder()
		return s.GetSeeder().GetPeerId() == ada.ID() && !s.GetGone() && s.GetSeeder().GetComplete() && len(s.GetSeeder().GetAddrs()) == 1
	})

	// Who leaves the group offers nothing any more.
	if err := bob.Leave("g"); err != nil {
		t.Fatal(err)
	}
	if got := list(ada); len(got) != 0 {
		t.Errorf("seeders after bob has left = %v", got)
	}
}

func TestBadAddresses(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	other := w.client().ID()
	tests := []struct {
		name  string
		addrs []string
		want  protocol.Code
	}{
		{"nine", make([]string, protocol.MaxAddrs+1), protocol.CodeLimit},
		{"no multiaddr", []string{"127.0.0.1:4001"}, protocol.CodeUsage},
		{"of another peer", []string{"/ip4/192.0.2.1/tcp/1/p2p/" + other}, protocol.CodeUsage},
		{"a name", []string{"/dns4/victim.example/tcp/80"}, protocol.CodeUsage},
		{"unspecified", []string{"/ip4/0.0.0.0/tcp/4001"}, protocol.CodeUsage},
		{"no port", []string{"/ip4/192.0.2.1"}, protocol.CodeUsage},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			wantCode(t, "Attach", ada.StartAttach(tc.addrs...).Err(), tc.want)
		})
	}
}

// A file whose description was lost with a tracker can be shared again by
// whoever has it.
func TestLostManifestIsTakenAgain(t *testing.T) {
	w := newWorld(t, options{})
	ada, _, gid := pair(w)
	m := tt.Manifest("a.bin", 2, 1)
	id, data := m.ID(), m.Encode()
	_, err := w.replica.Propose(t.Context(), replica.Proposal{Build: func(c *catalog.Catalog) ([]catalog.Draft, error) {
		share := catalog.Share{Group: protocol.GroupID(gid), File: id, User: protocol.UserID(ada.User), Peer: "elsewhere"}
		return c.ShareFile(share, m, int64(len(data))), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if known, err := ada.Put(gid, id, data); err != nil || known {
		t.Fatalf("PutManifest = %v, %v, want it taken", known, err)
	}
	if _, err := tt.Do(ada, ada.At().ShareFile, &pb.ShareFileRequest{Group: tt.Group("g"), FileId: id[:]}); err != nil {
		t.Error(err)
	}
	if known, err := ada.Put(gid, id, data); err != nil || !known {
		t.Errorf("PutManifest again = %v, %v, want known", known, err)
	}
}

// What is known already, or nothing at all, cannot be sent for ever.
func TestManifestUploadEnds(t *testing.T) {
	w := newWorld(t, options{})
	ada, _, gid := pair(w)
	m := tt.Manifest("a.bin", 2, 1)
	if _, err := ada.Share("g", m); err != nil {
		t.Fatal(err)
	}
	_, err := ada.Put(gid, m.ID(), make([]byte, protocol.MaxManifest+protocol.ManifestChunk))
	wantCode(t, "more than any manifest has, of one that is known", err, protocol.CodeLimit)
}
