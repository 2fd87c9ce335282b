package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

func TestRefusal(t *testing.T) {
	tests := []struct {
		name      string
		err       error
		reference string
		want      protocol.Code
		wantCode  connect.Code
		wantText  string
	}{
		{"wrong password", protocol.Errorf(protocol.CodeAuth, "wrong user name or password"), "", protocol.CodeAuth, connect.CodeUnauthenticated, "wrong user name or password"},
		{"wrapped", fmt.Errorf("propose: %w", protocol.Errorf(protocol.CodeExists, "taken")), "", protocol.CodeExists, connect.CodeAlreadyExists, "taken"},
		{"unforeseen", errors.New("open /var/secret: permission denied"), "ab12cd34", protocol.CodeInternal, connect.CodeInternal, "ab12cd34"},
		{"cause of an internal one", protocol.Errorf(protocol.CodeInternal, "at /var/secret"), "ab12cd34", protocol.CodeInternal, connect.CodeInternal, "ab12cd34"},
		{"ended by the caller", fmt.Errorf("wait: %w", context.Canceled), "", protocol.CodeBusy, connect.CodeUnavailable, "ended"},
		{"out of time", context.DeadlineExceeded, "", protocol.CodeBusy, connect.CodeUnavailable, "ended"},
		{"too many", &protocol.Error{Code: protocol.CodeRate, Msg: "slow down", RetryAfter: 3 * time.Second}, "", protocol.CodeRate, connect.CodeResourceExhausted, "slow down"},
	}
	s := &Server{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := s.refusal(tt.err, tt.reference)
			var c *connect.Error
			if !errors.As(err, &c) || c.Code() != tt.wantCode || len(c.Details()) != 1 {
				t.Fatalf("refusal = %v, want %v with one detail", err, tt.wantCode)
			}
			m, err := c.Details()[0].Value()
			if err != nil {
				t.Fatal(err)
			}
			failure, ok := m.(*pb.Failure)
			if !ok {
				t.Fatalf("detail is %T", m)
			}
			back := wire.FromFailure(failure)
			if protocol.CodeOf(back) != tt.want || !strings.Contains(back.Error(), tt.wantText) {
				t.Errorf("the caller gets %s %q, want %s with %q", protocol.CodeOf(back), back, tt.want, tt.wantText)
			}
			if strings.Contains(c.Message()+back.Error(), "secret") {
				t.Errorf("the cause leaks: %q", back)
			}
			var e *protocol.Error
			if tt.want == protocol.CodeRate && (!errors.As(back, &e) || e.RetryAfter != 3*time.Second) {
				t.Errorf("RetryAfter = %v, want 3s", e.RetryAfter)
			}
		})
	}
}

// Every code of the protocol that a tracker may answer with has a Connect code
// of its own kind, and only what is unforeseen is internal.
func TestCodeFor(t *testing.T) {
	tests := []struct {
		code protocol.Code
		want connect.Code
	}{
		{protocol.CodeAuth, connect.CodeUnauthenticated},
		{protocol.CodeSession, connect.CodeUnauthenticated},
		{protocol.CodeForbidden, connect.CodePermissionDenied},
		{protocol.CodeNotMember, connect.CodePermissionDenied},
		{protocol.CodeRate, connect.CodeResourceExhausted},
		{protocol.CodeLimit, connect.CodeResourceExhausted},
		{protocol.CodeBusy, connect.CodeUnavailable},
		{protocol.CodeTrackerFull, connect.CodeUnavailable},
		{protocol.CodeNotFound, connect.CodeNotFound},
		{protocol.CodeExists, connect.CodeAlreadyExists},
		{protocol.CodeRenamed, connect.CodeFailedPrecondition},
		{protocol.CodeName, connect.CodeInvalidArgument},
		{protocol.CodePassword, connect.CodeInvalidArgument},
		{protocol.CodeUsage, connect.CodeInvalidArgument},
		{protocol.CodeBadManifest, connect.CodeInvalidArgument},
		{protocol.CodeInternal, connect.CodeInternal},
	}
	for _, tt := range tests {
		t.Run(string(tt.code), func(t *testing.T) {
			if got := codeFor(tt.code); got != tt.want {
				t.Errorf("codeFor(%s) = %v, want %v", tt.code, got, tt.want)
			}
		})
	}
}

// Every procedure of the service has a rule; those that need no session are
// exactly the three that cannot have one.
func TestRules(t *testing.T) {
	methods := pb.File_protocol_pb_tracker_proto.Services().ByName("TrackerService").Methods()
	var open []string
	for i := range methods.Len() {
		name := string(methods.Get(i).Name())
		r := ruleOf("/p2pshare.v1.TrackerService/" + name)
		if r.open || r.always {
			open = append(open, name)
		}
		if r.change && r.what == "" {
			t.Errorf("%s changes something and is not in the activity log", name)
		}
	}
	if got := strings.Join(open, " "); got != "Hello Register Login" {
		t.Errorf("without a session: %s", got)
	}
	if r := ruleOf("/p2pshare.v1.TrackerService/Invented"); r.open || r.always || r.ended {
		t.Errorf("an unknown procedure: %+v, want one that needs a session", r)
	}
}

func TestPage(t *testing.T) {
	var all []*pb.UserEntry
	for i := range 450 {
		all = append(all, &pb.UserEntry{Name: fmt.Sprintf("user%03d", (i*7)%450)})
	}
	var got []string
	cursor := ""
	for pages := 1; ; pages++ {
		users, next := page(all, cursor)
		for _, u := range users {
			got = append(got, u.GetName())
		}
		if cursor = next; cursor == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
		// Whoever stood at the cursor leaves meanwhile: nobody may be skipped.
		all = append([]*pb.UserEntry(nil), all...)
		for i, u := range all {
			if u.GetName() == cursor {
				all = append(all[:i], all[i+1:]...)
				break
			}
		}
	}
	if len(got) != 450 {
		t.Fatalf("%d users over all pages, want 450", len(got))
	}
	for i, name := range got {
		if want := fmt.Sprintf("user%03d", i); name != want {
			t.Fatalf("place %d has %s, want %s", i, name, want)
		}
	}
}
