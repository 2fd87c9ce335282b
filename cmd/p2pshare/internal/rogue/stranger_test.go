package rogue_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/rogue"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// room is a group g with a file of ada's in it, who also shares a file in a
// group h, and everybody who should get nothing of the first.
type room struct {
	*world
	ada                            *honest
	seeder                         peer.AddrInfo
	g, h                           protocol.GroupID
	file                           protocol.FileID // in g
	data                           []byte
	member                         *rogue.Peer // of g
	outsider, guest, former, other *rogue.Peer // no account; no group; removed from g; of h
	formerTicket, otherTicket      []byte
}

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{world: newWorld(t, map[string]string{"registrations": "off", "logins": "off"})}
	r.ada = r.user("ada")
	r.ada.group("g")
	r.ada.group("h")
	path, _, data := r.world.file("f.bin", 2<<20)
	r.data = data
	r.ada.share("g", path)
	path, _, _ = r.world.file("h.bin", 100_000)
	r.ada.share("h", path)
	r.member = r.world.member(r.ada, "g", "mia")
	r.g, r.file = r.member.Find("g", "f.bin")
	r.seeder = r.where(r.member, r.g, r.file)
	r.outsider = rogue.New(t)
	r.guest = r.rogue().Enter("guest")
	r.other = r.world.member(r.ada, "h", "otto")
	r.h, _ = r.other.Find("h", "h.bin")
	r.otherTicket = r.other.Ticket(r.h)
	r.former = r.world.member(r.ada, "g", "ex")
	r.formerTicket = r.former.Ticket(r.g)
	if _, err := r.former.Leech(r.seeder, r.formerTicket, r.file); err != nil {
		t.Fatalf("the ticket of a member: %v", err)
	}
	_, err := r.ada.RemoveMember(t.Context(), "g", "ex")
	r.ok(err)
	r.eventually("the seeder knows of the removal", func() bool {
		_, err := r.former.Leech(r.seeder, r.formerTicket, r.file)
		return err != nil
	})
	return r
}

// ticket is one that the tracker would have made, with changes.
func (r *room) ticket(p *rogue.Peer, change func(*credential.Ticket)) *credential.Ticket {
	now := time.Now()
	t := &credential.Ticket{
		Network: r.network, Group: r.g, Session: protocol.NewSessionID(), Peer: p.Host.ID(),
		Stamp:  protocol.Stamp{Wall: 1, Origin: r.entry.ID.String()},
		Issued: now.Truncate(time.Second), Expires: now.Add(protocol.TicketLife).Truncate(time.Second),
	}
	copy(t.User[:], p.User)
	if change != nil {
		change(t)
	}
	return t
}

func (r *room) sealed(t *credential.Ticket) []byte {
	r.Helper()
	b, err := t.Seal(r.key)
	r.ok(err)
	return b
}

// asSession is a ticket in an envelope that says it holds a session.
type asSession struct{ *credential.Ticket }

func (asSession) Codec() []byte { return (*credential.Session)(nil).Codec() }

// intruders is who asks with what. All but the last show what no gate may take.
func (r *room) intruders() map[string]func() (*rogue.Peer, []byte) {
	of := func(p *rogue.Peer, ticket []byte) func() (*rogue.Peer, []byte) {
		return func() (*rogue.Peer, []byte) { return p, ticket }
	}
	selfSigned, err := r.ticket(r.outsider, func(t *credential.Ticket) { copy(t.User[:], r.member.User) }).Seal(r.outsider.Key)
	r.ok(err)
	confused, err := record.Seal(asSession{r.ticket(r.guest, nil)}, r.key)
	r.ok(err)
	confusedBytes, err := confused.Marshal()
	r.ok(err)
	genuine := r.member.Ticket(r.g)
	mias := func(change func(*credential.Ticket)) []byte { return r.sealed(r.ticket(r.member, change)) }
	return map[string]func() (*rogue.Peer, []byte){
		"outsider without a ticket":                of(r.outsider, nil),
		"outsider with garbage":                    of(r.outsider, bytes.Repeat([]byte{0x0a}, 300)),
		"outsider with a member's ticket":          of(r.outsider, genuine),
		"outsider with one signed by himself":      of(r.outsider, selfSigned),
		"guest without a ticket":                   of(r.guest, nil),
		"guest with a member's ticket":             of(r.guest, genuine),
		"guest with a session for a ticket":        of(r.guest, r.guest.Session),
		"guest with a ticket in a session's cover": of(r.guest, confusedBytes),
		"guest whom a tracker vouched for wrongly": of(r.guest, r.sealed(r.ticket(r.guest, nil))),
		"former member with an old ticket":         of(r.former, r.formerTicket),
		"former member with an expired one": of(r.former, r.sealed(r.ticket(r.former, func(t *credential.Ticket) {
			t.Issued, t.Expires = t.Issued.Add(-2*time.Hour), t.Expires.Add(-2*time.Hour)
		}))),
		"member of another group, ticket of that":  of(r.other, r.otherTicket),
		"member of another group, ticket of this":  of(r.other, genuine),
		"member, ticket of another network":        of(r.member, mias(func(t *credential.Ticket) { t.Network[0]++ })),
		"member, ticket from the future":           of(r.member, mias(func(t *credential.Ticket) { t.Issued = t.Issued.Add(time.Hour) })),
		"member, ticket for a day":                 of(r.member, mias(func(t *credential.Ticket) { t.Expires = t.Expires.Add(24 * time.Hour) })),
		"member, ticket of another group":          of(r.member, mias(func(t *credential.Ticket) { t.Group = r.h })),
		"member, genuine ticket with bytes behind": of(r.member, append(slices.Clone(genuine), 0x28, 0)),
		"member, expired ticket": of(r.member, mias(func(t *credential.Ticket) {
			t.Issued, t.Expires = t.Issued.Add(-30*time.Minute), t.Expires.Add(-30*time.Minute)
		})),
	}
}

// TestStrangersGetNothing asks for a file that is there and for one that is
// not: the answers are the same bytes, none of them of the file.
func TestStrangersGetNothing(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	refused := func(code protocol.Code) []byte {
		var b bytes.Buffer
		r.ok(wire.Write(&b, &pb.FromSeeder{Body: &pb.FromSeeder_Refused{Refused: &pb.Refused{Code: string(code)}}}))
		return b.Bytes()
	}
	for name, who := range r.intruders() {
		t.Run(name, func(t *testing.T) {
			p, ticket := who()
			want := refused(protocol.CodeNotMember)
			if name == "member, expired ticket" {
				want = refused(protocol.CodeSession) // to nobody else
			}
			// The quickest of each: what the answer waits for is in that. What else the
			// machine does may be too, but not for ever.
			took := [2]time.Duration{time.Hour, time.Hour}
			alike := func() bool { return max(took[0], took[1]) <= 2*min(took[0], took[1]) }
			for round := 0; round < 30 || round < 600 && !alike(); round++ {
				for i, file := range []protocol.FileID{r.file, {1, 2, 3}} {
					a, err := p.Knock(r.seeder, ticket, file)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(a.Bytes, want) {
						t.Fatalf("file %d: answered with %q, want %q", i, a.Bytes, want)
					}
					took[i] = min(took[i], a.Took)
				}
			}
			if !alike() {
				t.Errorf("the answer takes %v when the file is there, %v when it is not", took[0], took[1])
			}
		})
	}
	if got, err := r.member.Leech(r.seeder, r.member.Ticket(r.g), r.file); err != nil {
		t.Errorf("the member: %v", err)
	} else if b, err := got.Piece(0); err != nil || !bytes.Equal(b, r.data[:protocol.MinPieceLength]) {
		t.Errorf("the member: %d bytes, %v", len(b), err)
	}
	if _, err := r.member.Leech(r.seeder, r.member.Ticket(r.g), protocol.FileID{1, 2, 3}); err == nil {
		t.Error("the member gets a file that is not there")
	}
}

// TestStrangersLearnNothingOfTrackers asks the tracker for all that is of a
// group, without a session, with a stolen one, and as somebody outside of it.
func TestStrangersLearnNothingOfTrackers(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	thief := r.rogue()
	thief.Session = r.member.Session
	ref := func(f protocol.FileID) *pb.FileRequest { return &pb.FileRequest{GroupId: r.g[:], FileId: f[:]} }
	tests := []struct {
		name string
		p    *rogue.Peer
		want protocol.Code
	}{
		{"without a session", r.rogue(), protocol.CodeSession},
		{"with the session of another client", thief, protocol.CodeSession},
		{"as a guest", r.guest, protocol.CodeNotMember},
		{"as a former member", r.former, protocol.CodeNotMember},
		{"as a member of another group", r.other, protocol.CodeNotMember},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := test.p
			group := &pb.GroupRef{Name: "g"}
			var told []string // of what is there, then of what is not
			for _, f := range []protocol.FileID{r.file, {1, 2, 3}} {
				name := "f.bin"
				if f != r.file {
					name = "missing.bin"
				}
				errs := map[string]error{}
				_, errs["FindFile"] = rogue.Do(p, p.At().FindFile, &pb.FindFileRequest{Group: group, Name: name})
				_, errs["ListSeeders"] = rogue.Do(p, p.At().ListSeeders, ref(f))
				_, errs["ListFiles"] = rogue.Do(p, p.At().ListFiles, listFiles("g"))
				_, errs["ListMembers"] = rogue.Do(p, p.At().ListMembers, &pb.GroupRequest{Group: group})
				_, errs["IssueTicket"] = rogue.Do(p, p.At().IssueTicket, &pb.IssueTicketRequest{GroupId: r.g[:]})
				errs["PutManifest"] = p.Put(r.g, f, nil)
				_, errs["GetManifest"] = p.Manifest(ref(f))
				text := ""
				for _, call := range slices.Sorted(maps.Keys(errs)) {
					r.want(test.name+": "+call, errs[call], test.want)
					if errs[call] != nil {
						text += call + ": " + errs[call].Error() + "\n"
					}
				}
				told = append(told, text)
			}
			if told[0] != told[1] {
				t.Errorf("what is there is answered by\n%swhat is not by\n%s", told[0], told[1])
			}
		})
	}
}
