package rpc_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// members is "name:role" of each member, by name.
func members(t *testing.T, c *tt.Client, group string) string {
	t.Helper()
	r, err := tt.Do(c, c.At().ListMembers, &pb.GroupRequest{Group: tt.Group(group)})
	if err != nil {
		t.Fatalf("list members of %s: %v", group, err)
	}
	var out []string
	for _, m := range r.GetMembers() {
		out = append(out, m.GetName()+":"+m.GetRole())
	}
	return strings.Join(out, " ")
}

func TestCreateGroup(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob := w.user("ada"), w.user("bob")
	nonce := tt.Nonce()
	create := func(c *tt.Client, name string, nonce []byte) (*pb.GroupResponse, error) {
		return tt.Do(c, c.At().CreateGroup, &pb.CreateGroupRequest{Name: name, Nonce: nonce})
	}
	first, err := create(ada, "Compilers", nonce)
	if err != nil || first.GetGroup() != "Compilers" || first.GetAlready() {
		t.Fatalf("CreateGroup = %v, %v", first, err)
	}
	again, err := create(ada, "Compilers", nonce)
	if err != nil || !again.GetAlready() || !bytes.Equal(again.GetGroupId(), first.GetGroupId()) {
		t.Errorf("the same request again = %v, %v, want already", again, err)
	}
	tests := []struct {
		name, group string
		nonce       []byte
		want        protocol.Code
	}{
		{"taken", "compilers", tt.Nonce(), protocol.CodeExists},
		{"taken, with the nonce of another", "compilers", nonce, protocol.CodeExists},
		{"bad name", "a/b", tt.Nonce(), protocol.CodeName},
		{"no nonce", "databases", nil, protocol.CodeUsage},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := create(bob, tc.group, tc.nonce)
			wantCode(t, "CreateGroup", err, tc.want)
		})
	}
	if got := members(t, ada, "compilers"); got != "ada:owner" {
		t.Errorf("members = %q", got)
	}
}

func TestLifeOfAGroup(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob, carol := w.user("ada"), w.user("bob"), w.user("carol")
	ada.CreateGroup("g")
	already := func(r *pb.GroupResponse, err error) string {
		if err != nil {
			return string(protocol.CodeOf(err))
		}
		return fmt.Sprint(r.GetAlready())
	}
	join := func(c *tt.Client) string {
		return already(tt.Do(c, c.At().JoinGroup, &pb.GroupRequest{Group: tt.Group("g")}))
	}
	leave := func(c *tt.Client) string {
		return already(tt.Do(c, c.At().LeaveGroup, &pb.GroupRequest{Group: tt.Group("g")}))
	}
	answer := func(c *tt.Client, user string, accept bool) string {
		return already(tt.Do(c, c.At().AnswerRequest, &pb.AnswerRequestRequest{Group: tt.Group("g"), User: tt.User(user), Accept: accept}))
	}
	remove := func(c *tt.Client, user string) string {
		return already(tt.Do(c, c.At().RemoveMember, &pb.MemberRequest{Group: tt.Group("g"), User: tt.User(user)}))
	}
	transfer := func(c *tt.Client, user string) string {
		return already(tt.Do(c, c.At().TransferGroup, &pb.MemberRequest{Group: tt.Group("g"), User: tt.User(user)}))
	}
	requests := func(c *tt.Client) string {
		r, err := tt.Do(c, c.At().ListRequests, &pb.GroupRequest{Group: tt.Group("g")})
		if err != nil {
			return string(protocol.CodeOf(err))
		}
		var names []string
		for _, u := range r.GetUsers() {
			names = append(names, u.GetName())
		}
		return strings.Join(names, " ")
	}
	const (
		done, was = "false", "true"
		notFound  = string(protocol.CodeNotFound)
		forbidden = string(protocol.CodeForbidden)
		notMember = string(protocol.CodeNotMember)
	)
	steps := []struct {
		name string
		do   func() string
		want string
	}{
		{name: "leave before joining", do: func() string { return leave(bob) }, want: notMember},
		{name: "accept who has not asked", do: func() string { return answer(ada, "bob", true) }, want: notFound},
		{name: "accept who does not exist", do: func() string { return answer(ada, "nobody", true) }, want: notFound},
		{name: "remove who was never in", do: func() string { return remove(ada, "bob") }, want: notFound},
		{name: "join", do: func() string { return join(bob) }, want: done},
		{name: "join again", do: func() string { return join(bob) }, want: was},
		{name: "requests, by the owner", do: func() string { return requests(ada) }, want: "bob"},
		{name: "requests, by the one who asks", do: func() string { return requests(bob) }, want: forbidden},
		{name: "accept oneself", do: func() string { return answer(bob, "bob", true) }, want: forbidden},
		{name: "refuse", do: func() string { return answer(ada, "bob", false) }, want: done},
		{name: "refuse again", do: func() string { return answer(ada, "bob", false) }, want: was},
		{name: "accept after refusing", do: func() string { return answer(ada, "bob", true) }, want: notFound},
		{name: "ask once more", do: func() string { return join(bob) }, want: done},
		{name: "withdraw", do: func() string { return leave(bob) }, want: done},
		{name: "requests, withdrawn", do: func() string { return requests(ada) }, want: ""},
		{name: "and ask", do: func() string { return join(bob) }, want: done},
		{name: "accept", do: func() string { return answer(ada, "bob", true) }, want: done},
		{name: "accept again", do: func() string { return answer(ada, "bob", true) }, want: was},
		{name: "join as a member", do: func() string { return join(bob) }, want: was},
		{name: "members", do: func() string { return members(t, bob, "g") }, want: "ada:owner bob:member"},
		{name: "remove, by a member", do: func() string { return remove(bob, "ada") }, want: forbidden},
		{name: "transfer, by a member", do: func() string { return transfer(bob, "bob") }, want: forbidden},
		{name: "transfer to a stranger", do: func() string { return transfer(ada, "carol") }, want: notFound},
		{name: "transfer", do: func() string { return transfer(ada, "bob") }, want: done},
		{name: "transfer again", do: func() string { return transfer(ada, "bob") }, want: was},
		{name: "transfer back by who owns no more", do: func() string { return transfer(ada, "ada") }, want: forbidden},
		{name: "transfer to oneself", do: func() string { return transfer(bob, "bob") }, want: was},
		{name: "third one joins", do: func() string { return join(carol) }, want: done},
		{name: "accept by the new owner", do: func() string { return answer(bob, "carol", true) }, want: done},
		{name: "remove", do: func() string { return remove(bob, "carol") }, want: done},
		{name: "remove again", do: func() string { return remove(bob, "carol") }, want: was},
		{name: "leave after being removed", do: func() string { return leave(carol) }, want: was},
		{name: "the owner leaves", do: func() string { return leave(bob) }, want: done},
		{name: "ownership passes on", do: func() string { return members(t, ada, "g") }, want: "ada:owner"},
		{name: "the last one leaves", do: func() string { return leave(ada) }, want: done},
		{name: "the group is gone", do: func() string { return join(bob) }, want: notFound},
	}
	for _, s := range steps {
		if got := s.do(); got != s.want {
			t.Errorf("%s: %q, want %q", s.name, got, s.want)
		}
	}
}

func TestListGroupsShowsRoles(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob := w.user("ada"), w.user("bob")
	for _, name := range []string{"Own", "In", "asked", "other"} {
		if name == "Own" {
			bob.CreateGroup(name)
		} else {
			ada.CreateGroup(name)
		}
	}
	ada.LetIn("in", bob, "bob")
	if err := bob.Join("asked"); err != nil {
		t.Fatal(err)
	}
	r, err := tt.Do(bob, bob.At().ListGroups, &pb.ListGroupsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range r.GetGroups() {
		got = append(got, g.GetName()+":"+g.GetRole())
	}
	if want := "asked:requested In:member other:none Own:owner"; strings.Join(got, " ") != want {
		t.Errorf("groups = %q, want %q", got, want)
	}
}

func TestListsArePaged(t *testing.T) {
	w := newWorld(t, options{limits: map[string]string{"ops": "off"}})
	const n = 2*protocol.PageSize + 1
	var want []string
	var c *tt.Client
	for i := range n {
		if i%protocol.MaxGroupsOwned == 0 {
			c = w.user(fmt.Sprintf("user%d", i))
		}
		name := fmt.Sprintf("group %04d", i)
		c.CreateGroup(name)
		want = append(want, name)
	}
	var got []string
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		r, err := tt.Do(c, c.At().ListGroups, &pb.ListGroupsRequest{Cursor: cursor})
		if err != nil || len(r.GetGroups()) > protocol.PageSize || pages > 3 {
			t.Fatalf("page %d: %d groups, %v", pages, len(r.GetGroups()), err)
		}
		for _, g := range r.GetGroups() {
			got = append(got, g.GetName())
		}
		cursor = r.GetNext()
	}
	if strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("%d groups over all pages, want %d, each once and in order", len(got), n)
	}
}

func TestGroupLimits(t *testing.T) {
	w := newWorld(t, options{limits: map[string]string{"ops": "off"}})
	ada, bob := w.user("ada"), w.user("bob")
	for i := range protocol.MaxGroupsOwned {
		ada.CreateGroup(fmt.Sprintf("g%d", i))
	}
	_, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "one more", Nonce: tt.Nonce()})
	wantCode(t, "one group too many", err, protocol.CodeLimit)
	for i := range protocol.MaxRequestsPerUser {
		if err := bob.Join(fmt.Sprintf("g%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "one request too many", bob.Join("g30"), protocol.CodeLimit)
	bob.CreateGroup("h")
	bob.LetIn("h", ada, "ada")
	_, err = tt.Do(bob, bob.At().TransferGroup, &pb.MemberRequest{Group: tt.Group("h"), User: tt.User("ada")})
	wantCode(t, "transfer to who owns enough", err, protocol.CodeLimit)
}

// What a client showed for a name last must still be what the name means.
func TestRenamed(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob := w.user("ada"), w.user("bob")
	g, h := ada.CreateGroup("g"), ada.CreateGroup("h")
	if err := bob.Join("g"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		group *pb.GroupRef
		user  *pb.UserRef
		want  protocol.Code
	}{
		{"group of another id", &pb.GroupRef{Name: "g", Id: h}, tt.User("bob"), protocol.CodeRenamed},
		{"name gone, id there", &pb.GroupRef{Name: "old", Id: g}, tt.User("bob"), protocol.CodeRenamed},
		{"name and id gone", &pb.GroupRef{Name: "old", Id: make([]byte, 16)}, tt.User("bob"), protocol.CodeNotFound},
		{"id of wrong length", &pb.GroupRef{Name: "g", Id: []byte{1, 2}}, tt.User("bob"), protocol.CodeUsage},
		{"user of another id", tt.Group("g"), &pb.UserRef{Name: "bob", Id: ada.User}, protocol.CodeRenamed},
		{"user name gone, id there", tt.Group("g"), &pb.UserRef{Name: "robert", Id: bob.User}, protocol.CodeRenamed},
		{"user id of wrong length", tt.Group("g"), &pb.UserRef{Name: "bob", Id: []byte{1}}, protocol.CodeUsage},
		{"all right", &pb.GroupRef{Name: "g", Id: g}, &pb.UserRef{Name: "bob", Id: bob.User}, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tt.Do(ada, ada.At().AnswerRequest, &pb.AnswerRequestRequest{Group: tc.group, User: tc.user, Accept: true})
			wantCode(t, "AnswerRequest", err, tc.want)
		})
	}
}

// An outsider and a user who is not a member learn nothing of a group but its name.
func TestWhatStrangersLearn(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	gid := ada.CreateGroup("g")
	m := tt.Manifest("secret plans.pdf", 1, 1)
	if _, err := ada.Share("g", m); err != nil {
		t.Fatal(err)
	}
	id := m.ID()
	ref := &pb.FileRequest{GroupId: gid, FileId: id[:]}
	for _, who := range []struct {
		name   string
		client *tt.Client
		want   protocol.Code
	}{
		{"outsider", w.client(), protocol.CodeSession},
		{"not a member", w.user("eve"), protocol.CodeNotMember},
	} {
		c := who.client
		calls := map[string]func() error{
			"ListMembers": func() error {
				_, err := tt.Do(c, c.At().ListMembers, &pb.GroupRequest{Group: tt.Group("g")})
				return err
			},
			"ListFiles": func() error {
				_, err := tt.Do(c, c.At().ListFiles, &pb.ListFilesRequest{Group: tt.Group("g")})
				return err
			},
			"FindFile": func() error {
				_, err := tt.Do(c, c.At().FindFile, &pb.FindFileRequest{Group: tt.Group("g"), Name: m.Name})
				return err
			},
			"ListSeeders": func() error { _, err := tt.Do(c, c.At().ListSeeders, ref); return err },
			"IssueTicket": func() error {
				_, err := tt.Do(c, c.At().IssueTicket, &pb.IssueTicketRequest{GroupId: gid})
				return err
			},
			"ShareFile": func() error {
				_, err := tt.Do(c, c.At().ShareFile, &pb.ShareFileRequest{Group: tt.Group("g"), FileId: id[:]})
				return err
			},
			"PutManifest": func() error { _, err := c.Put(gid, id, m.Encode()); return err },
			"GetManifest": func() error { _, err := c.Manifest(ref); return err },
		}
		for name, call := range calls {
			wantCode(t, name+" by "+who.name, call(), who.want)
		}
	}
	eve := w.client()
	if err := eve.Login("eve", tt.Password); err != nil {
		t.Fatal(err)
	}
	_, err := tt.Do(eve, eve.At().ListRequests, &pb.GroupRequest{Group: tt.Group("g")})
	wantCode(t, "ListRequests", err, protocol.CodeForbidden)
}
