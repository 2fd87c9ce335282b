package node

import (
	"strconv"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// A tracker's list ends at the limit of its kind, in entries and in bytes, and
// where it goes round or nowhere.
func TestPagesEnd(t *testing.T) {
	tests := []struct {
		name    string
		page    func(call int) *pb.ListMembersResponse
		calls   int // at most
		refused bool
	}{
		{"one page", func(int) *pb.ListMembersResponse { return &pb.ListMembersResponse{Members: make([]*pb.UserEntry, 3)} }, 1, false},
		{"as many as may be", func(call int) *pb.ListMembersResponse {
			res := &pb.ListMembersResponse{Members: members(protocol.PageSize, "x")}
			if call < 10 {
				res.Next = strconv.Itoa(call)
			}
			return res
		}, 10, false},
		{"the same place again", func(int) *pb.ListMembersResponse {
			return &pb.ListMembersResponse{Members: members(2, "x"), Next: "b"}
		}, 2, false},
		{"more than may be", func(call int) *pb.ListMembersResponse {
			return &pb.ListMembersResponse{Members: members(protocol.PageSize, "x"), Next: strconv.Itoa(call)}
		}, 11, true},
		{"pages of one", func(call int) *pb.ListMembersResponse {
			return &pb.ListMembersResponse{Members: members(1, strings.Repeat("x", 200_000)), Next: strconv.Itoa(call)}
		}, 6, true},
		{"too many at once", func(int) *pb.ListMembersResponse {
			return &pb.ListMembersResponse{Members: members(protocol.MaxElements+1, "x")}
		}, 1, true},
		{"empty pages", func(call int) *pb.ListMembersResponse { return &pb.ListMembersResponse{Next: strconv.Itoa(call)} }, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			err := pages(maxMembersListed, func(string) (*pb.ListMembersResponse, int, error) {
				calls++
				if calls > tt.calls {
					t.Fatalf("call %d", calls)
				}
				res := tt.page(calls)
				return res, len(res.GetMembers()), nil
			})
			if (protocol.CodeOf(err) == protocol.CodeInternal) != tt.refused {
				t.Errorf("after %d calls: %v", calls, err)
			}
		})
	}
}

func members(n int, name string) []*pb.UserEntry {
	out := make([]*pb.UserEntry, n)
	for i := range out {
		out[i] = &pb.UserEntry{Name: name}
	}
	return out
}

// What a tracker pushes and names is remembered up to what a network can have.
func TestGroupsAndNamesAreBounded(t *testing.T) {
	a := &account{groups: map[protocol.GroupID]string{}}
	known := 0
	for i := range 3 * maxGroups {
		if a.knowGroup(protocol.GroupID{byte(i), byte(i >> 8)}, "g") {
			known++
		}
	}
	if known != maxGroups || len(a.groups) != maxGroups {
		t.Errorf("%d groups were taken, %d are known", known, len(a.groups))
	}
	if !a.knowGroup(protocol.GroupID{1}, "renamed") || a.groups[protocol.GroupID{1}] != "renamed" {
		t.Error("a known group got no new name")
	}
	if a.knowGroup(protocol.GroupID{1}, strings.Repeat("x", maxShown+1)) {
		t.Error("a name that is none was taken")
	}
	var n names
	n.sawUser(strings.Repeat("x", maxShown+1), make([]byte, 16))
	n.sawUser("ada", make([]byte, 16))
	if len(n.users) != 1 || n.user("ada").GetId() == nil {
		t.Errorf("%d users are remembered", len(n.users))
	}
}

// That another client uses the key of this one is told, once.
func TestTwinIsToldOf(t *testing.T) {
	var told []string
	n, err := New(WithDataDir(t.TempDir()), WithTrackers("127.0.0.1:9"), WithListen("127.0.0.1:0"), WithLog(func(e Event) { told = append(told, e.Text) }))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for _, code := range []protocol.Code{protocol.CodeBusy, protocol.CodeLocked, protocol.CodeLocked} {
		n.signal(trackers.Detached{Err: protocol.Errorf(code, "why")})
	}
	if len(told) != 1 || !strings.Contains(told[0], "another client with the key of this one") {
		t.Errorf("told %q", told)
	}
}
