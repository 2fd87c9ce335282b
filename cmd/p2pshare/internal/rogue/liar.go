package rogue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Liar is a tracker that says of everything that it is called by a name of its
// list. It lets everybody in. Its fields are set before Serve.
type Liar struct {
	pb.UnimplementedTrackerServiceHandler
	*Peer
	Network protocol.NetworkID
	Names   []string
	// Files maps names to the encoded descriptions that the tracker gives out for them.
	Files map[string][]byte
	// Shown takes the place of a file's name in answers; nil for the name itself.
	Shown func(name string) string
	// Seeder has all files.
	Seeder peer.AddrInfo
}

// words are the names that a text of a message can hold at all.
func (l *Liar) words() []string {
	return slices.DeleteFunc(slices.Clone(l.Names), func(name string) bool { return !utf8.ValidString(name) })
}

// Serve answers clients until the test ends.
func (l *Liar) Serve() {
	_, handler := pb.NewTrackerServiceHandler(l)
	l.serve(handler)
}

func user(i int) []byte  { return id16('u', i) }
func group(i int) []byte { return id16('g', i) }

func id16(kind byte, i int) []byte {
	b := make([]byte, 16)
	b[0], b[1], b[2] = kind, byte(i), byte(i>>8)
	return b
}

func answer[R any](l *Liar, m *R) *connect.Response[R] {
	r := connect.NewResponse(m)
	now := time.Now().UnixMilli()
	r.Header().Set(protocol.HeaderTime, strconv.FormatInt(now, 10))
	r.Header().Set(protocol.HeaderStamp, protocol.Stamp{Wall: now, Origin: l.Host.ID().String()}.String())
	return r
}

// Hello tells of this tracker alone.
func (l *Liar) Hello(context.Context, *connect.Request[pb.HelloRequest]) (*connect.Response[pb.HelloResponse], error) {
	return answer(l, &pb.HelloResponse{NetworkId: l.Network[:], Version: protocol.Version, Serving: true}), nil
}

// Login lets everybody in, under the first name.
func (l *Liar) Login(_ context.Context, r *connect.Request[pb.LoginRequest]) (*connect.Response[pb.LoginResponse], error) {
	client, err := peer.Decode(r.Peer().Addr)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s := credential.Session{
		Network: l.Network, User: protocol.UserID(user(0)), ID: protocol.NewSessionID(), Peer: client,
		Verifier: protocol.Stamp{Wall: 1, Origin: l.Host.ID().String()},
		Issued:   now, Expires: now.Add(protocol.SessionLife), RenewUntil: now.Add(protocol.SessionRenew),
	}
	envelope, err := s.Seal(l.Key)
	if err != nil {
		return nil, err
	}
	return answer(l, &pb.LoginResponse{Session: envelope, UserId: user(0), Name: l.Names[0]}), nil
}

// Attach pushes every kind of event under every name.
func (l *Liar) Attach(ctx context.Context, _ *connect.Request[pb.AttachRequest], out *connect.ServerStream[pb.Event]) error {
	for _, e := range l.events() {
		if err := out.Send(e); err != nil {
			return err
		}
	}
	tick := time.NewTicker(protocol.KeepAlive)
	defer tick.Stop()
	for {
		if err := out.Send(&pb.Event{Body: &pb.Event_KeepAlive{KeepAlive: &pb.KeepAlive{}}}); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (l *Liar) events() (events []*pb.Event) {
	now := &pb.Stamp{WallMs: time.Now().UnixMilli(), Origin: l.Host.ID().String()}
	for i, name := range l.words() {
		events = append(events, &pb.Event{Body: &pb.Event_GroupState{GroupState: &pb.GroupState{
			GroupId: group(i), Name: name, Role: name, AsOf: now, Members: [][]byte{user(0)},
		}}})
	}
	events = append(events, &pb.Event{Body: &pb.Event_Synced{Synced: &pb.Synced{User: l.Names[0], Trackers: 1}}})
	for i, name := range l.words() {
		file := protocol.FileID{byte(i)}
		events = append(events,
			&pb.Event{Body: &pb.Event_FileAdded{FileAdded: &pb.FileAdded{
				GroupId: group(i), Group: name, Name: name, Uploader: name, Size: -1, FileId: file[:],
			}}},
			&pb.Event{Body: &pb.Event_JoinRequested{JoinRequested: &pb.JoinRequested{Group: name, User: name}}},
			&pb.Event{Body: &pb.Event_Renamed{Renamed: &pb.Renamed{Kind: name, OldName: name, NewName: name}}})
		for _, kind := range []pb.MemberChange_Kind{
			pb.MemberChange_KIND_ACCEPTED, pb.MemberChange_KIND_REFUSED, pb.MemberChange_KIND_OWNER,
		} {
			events = append(events, &pb.Event{Body: &pb.Event_Member{Member: &pb.MemberChange{
				GroupId: group(i), Group: name, UserId: user(0), User: name, Kind: kind, Stamp: now,
			}}})
		}
	}
	return events
}

// ListGroups has one group for each name.
func (l *Liar) ListGroups(context.Context, *connect.Request[pb.ListGroupsRequest]) (*connect.Response[pb.ListGroupsResponse], error) {
	out := &pb.ListGroupsResponse{}
	for i, name := range l.words() {
		out.Groups = append(out.Groups, &pb.GroupEntry{Id: group(i), Name: name, Role: name})
	}
	return answer(l, out), nil
}

// ListMembers has one member for each name.
func (l *Liar) ListMembers(context.Context, *connect.Request[pb.GroupRequest]) (*connect.Response[pb.ListMembersResponse], error) {
	return answer(l, &pb.ListMembersResponse{Members: l.users()}), nil
}

// ListRequests has one request for each name.
func (l *Liar) ListRequests(context.Context, *connect.Request[pb.GroupRequest]) (*connect.Response[pb.ListRequestsResponse], error) {
	return answer(l, &pb.ListRequestsResponse{Users: l.users()}), nil
}

func (l *Liar) users() (all []*pb.UserEntry) {
	for i, name := range l.words() {
		all = append(all, &pb.UserEntry{Id: user(i), Name: name, Role: name})
	}
	return all
}

// JoinGroup fails with a failure of which every text is a name.
func (l *Liar) JoinGroup(_ context.Context, r *connect.Request[pb.GroupRequest]) (*connect.Response[pb.GroupResponse], error) {
	i, _ := strconv.Atoi(r.Msg.GetGroup().GetName())
	name := l.words()[i%len(l.words())]
	e := connect.NewError(connect.CodeFailedPrecondition, errors.New(name))
	d, err := connect.NewErrorDetail(&pb.Failure{Code: name, Message: name, Op: name, Reference: name})
	if err == nil {
		e.AddDetail(d)
	}
	return nil, e
}

func (l *Liar) entry(name string) *pb.FileEntry {
	data := l.Files[name]
	id := protocol.ManifestID(data)
	if l.Shown != nil {
		name = l.Shown(name)
	}
	name = strings.ToValidUTF8(name, "?")
	return &pb.FileEntry{Id: id[:], Name: name, Size: 1, Seeders: 1, Sha1: make([]byte, 20), Uploader: name}
}

// ListFiles has all files, in every group.
func (l *Liar) ListFiles(context.Context, *connect.Request[pb.ListFilesRequest]) (*connect.Response[pb.ListFilesResponse], error) {
	out := &pb.ListFilesResponse{GroupId: group(0)}
	for name := range l.Files {
		out.Files = append(out.Files, l.entry(name))
	}
	return answer(l, out), nil
}

// FindFile finds the file that is asked for, or the one of that number of the list.
func (l *Liar) FindFile(_ context.Context, r *connect.Request[pb.FindFileRequest]) (*connect.Response[pb.FindFileResponse], error) {
	name := r.Msg.GetName()
	if _, ok := l.Files[name]; !ok {
		i, err := strconv.Atoi(name)
		if err != nil {
			return nil, fmt.Errorf("no file %q", name)
		}
		name = l.Names[i%len(l.Names)]
	}
	return answer(l, &pb.FindFileResponse{File: l.entry(name), GroupId: group(0), Group: strings.ToValidUTF8(name, "?")}), nil
}

// GetManifest gives out the description as it is.
func (l *Liar) GetManifest(_ context.Context, r *connect.Request[pb.FileRequest], out *connect.ServerStream[pb.ManifestChunk]) error {
	for _, data := range l.Files {
		if id := protocol.ManifestID(data); string(id[:]) == string(r.Msg.GetFileId()) {
			return out.Send(&pb.ManifestChunk{Data: data})
		}
	}
	return errors.New("no such file")
}

// ListSeeders names the one seeder.
func (l *Liar) ListSeeders(context.Context, *connect.Request[pb.FileRequest]) (*connect.Response[pb.ListSeedersResponse], error) {
	s := &pb.Seeder{PeerId: l.Seeder.ID.String(), Complete: true, User: l.Names[0]}
	for _, a := range l.Seeder.Addrs {
		s.Addrs = append(s.Addrs, a.String())
	}
	return answer(l, &pb.ListSeedersResponse{Seeders: []*pb.Seeder{s}}), nil
}

// IssueTicket gives out tickets to anybody.
func (l *Liar) IssueTicket(_ context.Context, r *connect.Request[pb.IssueTicketRequest]) (*connect.Response[pb.IssueTicketResponse], error) {
	client, err := peer.Decode(r.Peer().Addr)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := credential.Ticket{
		Network: l.Network, Group: protocol.GroupID(r.Msg.GetGroupId()), User: protocol.UserID(user(0)), Session: protocol.NewSessionID(),
		Peer: client, Stamp: protocol.Stamp{Wall: 1, Origin: l.Host.ID().String()}, Issued: now, Expires: now.Add(protocol.TicketLife),
	}
	envelope, err := t.Seal(l.Key)
	if err != nil {
		return nil, err
	}
	return answer(l, &pb.IssueTicketResponse{Ticket: envelope}), nil
}

// Announce takes every offer.
func (l *Liar) Announce(context.Context, *connect.Request[pb.AnnounceRequest]) (*connect.Response[pb.AnnounceResponse], error) {
	return answer(l, &pb.AnnounceResponse{}), nil
}

// PutManifest takes nothing in.
func (l *Liar) PutManifest(_ context.Context, in *connect.ClientStream[pb.PutManifestRequest]) (*connect.Response[pb.PutManifestResponse], error) {
	for in.Receive() {
	}
	return answer(l, &pb.PutManifestResponse{}), nil
}

// ShareFile says that the file is shown under the last name.
func (l *Liar) ShareFile(context.Context, *connect.Request[pb.ShareFileRequest]) (*connect.Response[pb.ShareFileResponse], error) {
	return answer(l, &pb.ShareFileResponse{Name: l.Names[len(l.Names)-1], GroupId: group(0), Stored: &pb.Stored{StoredOn: 1, Trackers: 1}}), nil
}
