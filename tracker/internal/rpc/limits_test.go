package rpc_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// limitCase shows that a limit holds on each way in that this service is.
// Those that are not the service's say whose they are.
type limitCase struct {
	check     func(*limitWorld)
	elsewhere string
}

// TestEveryLimit goes through protocol/limits.go: each constant has its case,
// and a new one needs one.
func TestEveryLimit(t *testing.T) {
	cases := limitCases()
	for _, name := range constants(t, "../../../protocol/limits.go") {
		c, ok := cases[name]
		delete(cases, name)
		switch {
		case !ok:
			t.Errorf("%s: nothing shows where it is enforced", name)
		case c.check != nil:
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c.check(newLimitWorld(t))
			})
		}
	}
	for name := range cases {
		t.Errorf("%s is not a limit any more", name)
	}
}

// constants returns the names of the constants that a file declares.
func constants(t *testing.T, path string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			for _, s := range g.Specs {
				for _, id := range s.(*ast.ValueSpec).Names {
					names = append(names, id.Name)
				}
			}
		}
	}
	return names
}

// limitWorld is a group "g" of ada's with bob in it, and eve outside.
type limitWorld struct {
	*world
	ada, bob, eve *tt.Client
	gid           []byte
}

func newLimitWorld(t *testing.T) *limitWorld {
	w := newWorld(t, options{limits: map[string]string{"ops": "off", "manifest-bytes": "off"}})
	ada, bob, gid := pair(w)
	return &limitWorld{world: w, ada: ada, bob: bob, eve: w.user("eve"), gid: gid}
}

// write puts facts beside the service, as other trackers may bring them.
func (w *limitWorld) write(build func(*catalog.Catalog) []catalog.Draft) {
	w.t.Helper()
	_, err := w.replica.Propose(w.t.Context(), replica.Proposal{
		Build: func(c *catalog.Catalog) ([]catalog.Draft, error) { return build(c), nil },
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *limitWorld) refused(what string, err error) {
	w.t.Helper()
	wantCode(w.t, what, err, protocol.CodeLimit)
}

// groups puts n groups that a user owns, or is a mere member of.
func (w *limitWorld) groups(n int, of *tt.Client, owner bool) {
	w.write(func(c *catalog.Catalog) (ds []catalog.Draft) {
		creator, user := protocol.UserID{99}, protocol.UserID(of.User)
		if owner {
			creator = user
		}
		for i := range n {
			g := protocol.GroupID{1, byte(i), byte(i >> 8)}
			ds = append(ds, catalog.NewGroup(g, fmt.Sprintf("many %d", i), creator)...)
			if !owner {
				ds = append(ds, c.Grant(g, user)...)
			}
		}
		return ds
	})
}

func (w *limitWorld) create(c *tt.Client, name string) error {
	_, err := tt.Do(c, c.At().CreateGroup, &pb.CreateGroupRequest{Name: name, Nonce: tt.Nonce()})
	return err
}

// files puts n files of a user into g; each has a manifest of size bytes.
func (w *limitWorld) files(n int, of *tt.Client, size int64) {
	const batch = 500 // names are reserved one by one
	for from := 0; from < n; from += batch {
		w.write(func(c *catalog.Catalog) (ds []catalog.Draft) {
			for i := from; i < min(from+batch, n); i++ {
				share := catalog.Share{
					Group: protocol.GroupID(w.gid), File: protocol.FileID{1, byte(i), byte(i >> 8)},
					User: protocol.UserID(of.User), Peer: of.ID(),
				}
				ds = append(ds, c.ShareFile(share, tt.Manifest(fmt.Sprintf("many %d", i), 1, 1), size)...)
			}
			return ds
		})
	}
}

func (w *limitWorld) share(c *tt.Client, name string) error {
	_, err := c.Share("g", tt.Manifest(name, 1, 9))
	return err
}

func limitCases() map[string]limitCase {
	manifests := limitCase{elsewhere: "protocol.DecodeManifest, on every way in: protocol/manifest_test.go; PutManifest: TestPutManifest"}
	credentials := limitCase{elsewhere: "protocol/credential, for trackers and seeders"}
	pieces := limitCase{elsewhere: "the piece protocol: node/internal/piece and node/internal/swarm"}
	return map[string]limitCase{
		"PieceLength": manifests, "MinPieceLength": manifests, "EnoughPieces": manifests, "MaxPieceLength": manifests, "MaxPieces": manifests,
		"MaxLeases": {elsewhere: "presence: TestDeltasAreBounded"}, "MaxOffers": {elsewhere: "presence: TestOffersOfATrackerAreBounded"},
		"MaxManifest": {check: (*limitWorld).maxManifest}, "ManifestChunk": {check: (*limitWorld).manifestChunk},
		"MaxRequest": {check: (*limitWorld).maxRequest}, "MaxReply": {elsewhere: "connect.WithSendMaxBytes; PageSize keeps below it"},
		"MaxElements": {check: (*limitWorld).maxElements}, "PageSize": {check: (*limitWorld).pageSize},
		"MaxSeeders": {check: (*limitWorld).maxSeeders}, "MaxAddrs": {check: (*limitWorld).maxAddrs},
		"MaxPieceHeader": pieces,
		"MaxGossip":      {elsewhere: "replica: the options of pubsub and validate"},
		"MaxSync":        {elsewhere: "replica: TestMalformedRequests"},
		"BlobChunk":      {elsewhere: "replica: answerBlob, TestManifestsArrive"},
		"MaxFactValue":   {elsewhere: "catalog.Merge and catalog.Check: TestMergeRefuses"},
		"MaxCredential":  {check: (*limitWorld).maxCredential},

		"MaxSessionsPerUser": {elsewhere: "TestNinthSessionEndsTheOldest: the ninth is let in, the first ends"},
		"MaxGroupsOwned":     {check: (*limitWorld).maxGroupsOwned}, "MaxGroupsJoined": {check: (*limitWorld).maxGroupsJoined},
		"MaxMembersPerGroup": {check: (*limitWorld).maxMembers}, "MaxFilesPerGroup": {check: (*limitWorld).maxFiles},
		"MaxRequestsPerGroup": {check: (*limitWorld).maxRequestsOfGroup}, "MaxRequestsPerUser": {check: (*limitWorld).maxRequestsOfUser},
		"MaxSharesPerUser": {check: (*limitWorld).maxShares}, "MaxManifestsPerUser": {check: (*limitWorld).maxManifests},

		"SessionLife": credentials, "SessionRenew": credentials, "TicketLife": credentials, "TicketMaxLife": credentials,
		"CredentialSkew": credentials, "SessionAhead": credentials, "TicketGrace": {elsewhere: "node/internal/gate"},
		"KeepAlive": {elsewhere: "TestCloseEndsStreams and all others that attach"}, "PushSilence": {elsewhere: "node/internal/trackers"},
		"OpenTimeout": pieces, "PieceSilence": pieces, "PieceMinRate": pieces, "PieceRateWindow": pieces, "WaitTurn": pieces,
		"ReserveLife": {elsewhere: "replica: TestReservations"}, "ConfirmTimeout": {elsewhere: "replica: TestLateTracker"},
		"MaxStrangeStreams":      {elsewhere: "protocol/host: TestStrangers; cmd/p2pshare/internal/rogue: TestFloods"},
		"MaxPieceStreamsPerPeer": pieces, "MaxRequestsQueued": pieces, "MaxUploadSlots": pieces,
	}
}

func (w *limitWorld) maxManifest() {
	_, err := w.ada.Put(w.gid, protocol.FileID{1}, make([]byte, protocol.MaxManifest+1))
	w.refused("a longer manifest", err)
}

func (w *limitWorld) manifestChunk() {
	stream := w.ada.At().PutManifest(w.t.Context())
	w.ada.Sign(stream.RequestHeader())
	id := protocol.FileID{1}
	_ = stream.Send(&pb.PutManifestRequest{GroupId: w.gid, FileId: id[:], Data: make([]byte, protocol.ManifestChunk+2<<10)})
	if _, err := stream.CloseAndReceive(); connect.CodeOf(err) != connect.CodeResourceExhausted {
		w.t.Errorf("a longer chunk: %v, want it refused", err)
	}
}

func (w *limitWorld) maxRequest() {
	_, err := tt.Do(w.ada, w.ada.At().JoinGroup, &pb.GroupRequest{Group: tt.Group(strings.Repeat("x", protocol.MaxRequest))})
	w.refused("a longer request", err)
}

func (w *limitWorld) maxElements() {
	w.ada.Attach()
	offers := make([]*pb.Offer, protocol.MaxElements+1)
	for i := range offers {
		offers[i] = &pb.Offer{GroupId: w.gid}
	}
	_, err := tt.Do(w.ada, w.ada.At().Announce, &pb.AnnounceRequest{Offer: offers})
	w.refused("more offers", err)
	_, err = tt.Do(w.ada, w.ada.At().Announce, &pb.AnnounceRequest{Withdraw: offers})
	w.refused("more to withdraw", err)
}

func (w *limitWorld) pageSize() {
	w.groups(protocol.PageSize+1, w.eve, false)
	groups, err := tt.Do(w.ada, w.ada.At().ListGroups, &pb.ListGroupsRequest{})
	if err != nil || len(groups.GetGroups()) != protocol.PageSize || groups.GetNext() == "" {
		w.t.Errorf("a page of %d groups, %v, want %d and more", len(groups.GetGroups()), err, protocol.PageSize)
	}
	w.files(protocol.PageSize+1, w.ada, 100)
	files, err := tt.Do(w.ada, w.ada.At().ListFiles, &pb.ListFilesRequest{Group: tt.Group("g")})
	if err != nil || len(files.GetFiles()) != protocol.PageSize || files.GetNext() == "" {
		w.t.Errorf("a page of %d files, %v, want %d and more", len(files.GetFiles()), err, protocol.PageSize)
	}
	w.members(protocol.PageSize + 1)
	members, err := tt.Do(w.ada, w.ada.At().ListMembers, &pb.GroupRequest{Group: tt.Group("g")})
	if err != nil || len(members.GetMembers()) != protocol.PageSize || members.GetNext() == "" {
		w.t.Errorf("a page of %d members, %v, want %d and more", len(members.GetMembers()), err, protocol.PageSize)
	}
}

func (w *limitWorld) maxSeeders() {
	w.files(1, w.ada, 100)
	file := protocol.FileID{1}
	for i := range protocol.MaxSeeders + 10 {
		w.presence.Open(presence.Lease{
			Peer: fmt.Sprint("peer", i), User: protocol.UserID(w.ada.User),
			Offers: []presence.Offer{{FileRef: presence.FileRef{Group: protocol.GroupID(w.gid), File: file}, Complete: true}},
		})
	}
	r, err := tt.Do(w.bob, w.bob.At().ListSeeders, &pb.FileRequest{GroupId: w.gid, FileId: file[:]})
	if err != nil || len(r.GetSeeders()) != protocol.MaxSeeders {
		w.t.Errorf("%d seeders, %v, want %d", len(r.GetSeeders()), err, protocol.MaxSeeders)
	}
}

func (w *limitWorld) maxAddrs() {
	addrs := make([]string, protocol.MaxAddrs+1)
	for i := range addrs {
		addrs[i] = fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", 1000+i)
	}
	req := connect.NewRequest(&pb.AttachRequest{Addrs: addrs})
	w.ada.Sign(req.Header())
	stream, err := w.ada.At().Attach(w.t.Context(), req)
	if err == nil {
		stream.Receive()
		err = stream.Err()
		_ = stream.Close()
	}
	w.refused("more addresses at Attach", tt.Failure(err))
	w.ada.Attach()
	_, err = tt.Do(w.ada, w.ada.At().Announce, &pb.AnnounceRequest{Addrs: addrs})
	w.refused("more addresses at Announce", err)
}

func (w *limitWorld) maxCredential() {
	c := w.client()
	c.Session = bytes.Repeat([]byte{1}, protocol.MaxCredential+1)
	_, err := c.Groups()
	wantCode(w.t, "a longer session", err, protocol.CodeSession)
}

func (w *limitWorld) maxGroupsOwned() {
	w.groups(protocol.MaxGroupsOwned, w.bob, true)
	w.refused("one more of one's own", w.create(w.bob, "one more"))
	_, err := tt.Do(w.ada, w.ada.At().TransferGroup, &pb.MemberRequest{Group: tt.Group("g"), User: tt.User("bob")})
	w.refused("one more by transfer", err)
}

func (w *limitWorld) maxGroupsJoined() {
	if err := w.eve.Join("g"); err != nil { // while there is room
		w.t.Fatal(err)
	}
	w.groups(protocol.MaxGroupsJoined, w.eve, false)
	w.refused("to be let into one more", w.ada.Answer("g", "eve", true))
	w.refused("to make one more", w.create(w.eve, "one more"))
	if err := w.create(w.ada, "other"); err != nil {
		w.t.Fatal(err)
	}
	w.refused("to ask for one more", w.eve.Join("other"))
}

// members lets made-up users into g.
func (w *limitWorld) members(n int) {
	w.write(func(c *catalog.Catalog) (ds []catalog.Draft) {
		for i := range n {
			ds = append(ds, c.Grant(protocol.GroupID(w.gid), protocol.UserID{2, byte(i), byte(i >> 8)})...)
		}
		return ds
	})
}

func (w *limitWorld) maxMembers() {
	if err := w.eve.Join("g"); err != nil {
		w.t.Fatal(err)
	}
	w.members(protocol.MaxMembersPerGroup - 2) // ada and bob are in it
	w.refused("one more member", w.ada.Answer("g", "eve", true))
}

func (w *limitWorld) maxFiles() {
	w.files(protocol.MaxFilesPerGroup, w.bob, 100)
	w.refused("one more file", w.share(w.ada, "one more"))
}

func (w *limitWorld) maxShares() {
	w.files(protocol.MaxSharesPerUser-1, w.bob, 100)
	if err := w.share(w.bob, "the last"); err != nil {
		w.t.Fatal(err)
	}
	// Another's file, in a group with room for files.
	w.ada.CreateGroup("h")
	w.ada.LetIn("h", w.bob, "bob")
	m := tt.Manifest("one more", 1, 8)
	if _, err := w.ada.Share("h", m); err != nil {
		w.t.Fatal(err)
	}
	_, err := w.bob.Share("h", m)
	w.refused("one more share", err)
}

func (w *limitWorld) maxRequestsOfGroup() {
	w.write(func(*catalog.Catalog) (ds []catalog.Draft) {
		for i := range protocol.MaxRequestsPerGroup {
			ds = append(ds, catalog.SetRequest(protocol.GroupID(w.gid), protocol.UserID{3, byte(i)}, catalog.RequestOpen)...)
		}
		return ds
	})
	w.refused("one more request", w.eve.Join("g"))
}

func (w *limitWorld) maxRequestsOfUser() {
	w.groups(protocol.MaxRequestsPerUser, w.bob, true)
	for i := range protocol.MaxRequestsPerUser {
		if err := w.eve.Join(fmt.Sprintf("many %d", i)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.refused("one more request", w.eve.Join("g"))
}

func (w *limitWorld) maxManifests() {
	early := tt.Manifest("shown early", 1, 10)
	if _, err := w.ada.Put(w.gid, early.ID(), early.Encode()); err != nil {
		w.t.Fatal(err)
	}
	w.files(protocol.MaxManifestsPerUser/protocol.MaxManifest, w.ada, protocol.MaxManifest)
	m := tt.Manifest("one more", 1, 9)
	_, err := w.ada.Put(w.gid, m.ID(), m.Encode())
	w.refused("one more manifest", err)
	// One that was put before becomes hers by sharing it first.
	id := early.ID()
	_, err = tt.Do(w.ada, w.ada.At().ShareFile, &pb.ShareFileRequest{Group: tt.Group("g"), FileId: id[:]})
	w.refused("to be the first to share one more", err)
}
