package rpc_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/internal/calltest"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

func TestHelloToAnybody(t *testing.T) {
	w := newWorld(t, options{})
	c := w.client()
	r, err := tt.Do(c, c.At().Hello, &pb.HelloRequest{})
	if err != nil {
		t.Fatal(err)
	}
	network := w.replica.Network()
	if !bytes.Equal(r.GetNetworkId(), network[:]) || r.GetVersion() != protocol.Version || !r.GetServing() ||
		r.GetMinPassword() != 8 || len(r.GetTrackers()) != 1 || len(r.GetTrackers()[0].GetAddrs()) == 0 {
		t.Errorf("Hello = %v", r)
	}
}

// Every reply, a refusal too, tells the tracker's clocks.
func TestClockHeaders(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	check := func(what string) {
		t.Helper()
		stamp, err := protocol.ParseStamp(ada.Header.Get(protocol.HeaderStamp))
		if err != nil || stamp.Origin != w.info.ID.String() {
			t.Errorf("%s: stamp %v, %v", what, stamp, err)
		}
		ms, err := strconv.ParseInt(ada.Header.Get(protocol.HeaderTime), 10, 64)
		if err != nil || time.Since(time.UnixMilli(ms)).Abs() > time.Minute {
			t.Errorf("%s: time %d, %v", what, ms, err)
		}
	}
	ada.CreateGroup("g")
	check("reply")
	if _, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "/"}); err == nil {
		t.Fatal("a bad name was taken")
	}
	check("refusal")
	ada.Session = nil
	if _, err := ada.Groups(); err == nil {
		t.Fatal("a list without a session")
	}
	check("refusal before the handler")
}

// A client that has seen a later stamp brings the tracker's clock up to it, once
// it has shown a session or a password.
func TestStampOfTheClientIsObserved(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	ahead := func(by time.Duration) protocol.Stamp {
		return protocol.Stamp{Wall: time.Now().Add(by).UnixMilli(), Logical: 7, Origin: w.info.ID.String()}
	}
	check := func(what string, seen protocol.Stamp, want bool) {
		t.Helper()
		if now := w.replica.Now(); seen.After(now) == want {
			t.Errorf("%s: the clock reads %v, the client has seen %v; want it observed: %v", what, now, seen, want)
		}
	}
	seen := ahead(50 * time.Second)
	hello := connect.NewRequest(&pb.HelloRequest{})
	hello.Header().Set(protocol.HeaderStamp, seen.String())
	if _, err := w.client().At().Hello(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	login := func(password string) {
		req := connect.NewRequest(&pb.LoginRequest{Name: "ada", Password: password})
		req.Header().Set(protocol.HeaderStamp, seen.String())
		_, _ = w.client().At().Login(t.Context(), req)
	}
	login("wrong horse")
	list := connect.NewRequest(&pb.ListGroupsRequest{})
	list.Header().Set(protocol.HeaderStamp, seen.String())
	if _, err := w.client().At().ListGroups(t.Context(), list); err == nil {
		t.Fatal("a list for a stranger")
	}
	check("a stranger", seen, false)
	login(tt.Password)
	check("a login", seen, true)
	seen = ahead(time.Minute)
	list.Header().Set(protocol.HeaderStamp, seen.String())
	ada.Sign(list.Header())
	if _, err := ada.At().ListGroups(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	check("a session", seen, true)
	hello.Header().Set(protocol.HeaderStamp, "tomorrow")
	_, err := ada.At().Hello(t.Context(), hello)
	wantCode(t, "a malformed stamp", tt.Failure(err), protocol.CodeUsage)
}

// raw sends a request as it stands.
func raw(t *testing.T, w *world, method, path, contentType string, body io.Reader) (status int, text string) {
	t.Helper()
	return send(t, w.client(), w, method, path, contentType, body)
}

// rawAs is raw by POST for a client with a session.
func rawAs(t *testing.T, c *tt.Client, w *world, path, contentType string, body io.Reader) (status int, text string) {
	t.Helper()
	return send(t, c, w, http.MethodPost, path, contentType, body)
}

func send(t *testing.T, c *tt.Client, w *world, method, path, contentType string, body io.Reader) (status int, text string) {
	t.Helper()
	transport := calltest.Transport(c.Host, w.info.ID)
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), tt.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://tracker"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	c.Sign(req.Header)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestStrangeRequests(t *testing.T) {
	w := newWorld(t, options{})
	long := strings.NewReader(strings.Repeat("x", protocol.MaxRequest+1))
	chunked := io.MultiReader(strings.NewReader(strings.Repeat("x", protocol.MaxRequest+1))) // of no known length
	tests := []struct {
		name, method, path, contentType string
		body                            io.Reader
		want                            int
		wantText                        string
	}{
		{"by GET", "GET", pb.TrackerServiceHelloProcedure + "?encoding=json&message=%7B%7D", "", nil, 415, ""},
		{"JSON", "POST", pb.TrackerServiceHelloProcedure, "application/json", strings.NewReader("{}"), 415, ""},
		{"gRPC", "POST", pb.TrackerServiceHelloProcedure, "application/grpc+proto", nil, 415, ""},
		{"another path", "POST", "/debug/pprof", "application/proto", nil, 404, ""},
		{"too long", "POST", pb.TrackerServiceRegisterProcedure, "application/proto", long, 429, "limit reached"},
		{"too long without saying so", "POST", pb.TrackerServiceRegisterProcedure, "application/proto", chunked, 429, "limit reached"},
		{"not protobuf", "POST", pb.TrackerServiceRegisterProcedure, "application/proto", strings.NewReader("\xff\xff\xff"), 400, "not a message"},
		{"an element cut short", "POST", pb.TrackerServiceRegisterProcedure, "application/proto", strings.NewReader("\x0a\x7fx"), 400, "not a message"},
		{"a name that is no text", "POST", pb.TrackerServiceRegisterProcedure, "application/proto", strings.NewReader("\x0a\x02\xff\xfe"), 400, "not a message"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			status, text := raw(t, w, tc.method, tc.path, tc.contentType, tc.body)
			if status != tc.want || !strings.Contains(text, tc.wantText) {
				t.Errorf("status %d %q, want %d with %q", status, text, tc.want, tc.wantText)
			}
		})
	}
	c := w.client()
	if _, err := tt.Do(c, c.At().Hello, &pb.HelloRequest{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestMalformedMessages has every procedure read what is no message of its
// own, too long a one, and too many elements: each answers with a Failure.
func TestMalformedMessages(t *testing.T) {
	w := newWorld(t, options{limits: map[string]string{"calls": "off", "registrations": "off", "logins": "off"}})
	frame := func(payload string) string {
		return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(payload)))) + payload
	}
	var procedures []string
	service := pb.File_protocol_pb_tracker_proto.Services().ByName("TrackerService")
	for i := range service.Methods().Len() {
		procedures = append(procedures, "/"+string(service.FullName())+"/"+string(service.Methods().Get(i).Name()))
	}
	for _, procedure := range procedures {
		streams := slices.Contains([]string{
			pb.TrackerServiceAttachProcedure, pb.TrackerServicePutManifestProcedure, pb.TrackerServiceGetManifestProcedure,
		}, procedure)
		for name, test := range map[string]struct{ body, want string }{
			"garbage":           {"\xff\xff\xff\xff", "E_USAGE"},
			"a length of 4 GiB": {"\x0a\xff\xff\xff\xff\x0f", "E_USAGE"},
			"a group of groups": {strings.Repeat("\x0b", 20_000), "E_USAGE"},
		} {
			t.Run(procedure+" "+name, func(t *testing.T) {
				contentType, body := "application/proto", test.body
				if streams {
					contentType, body = "application/connect+proto", frame(test.body)
				}
				status, text := raw(t, w, "POST", procedure, contentType, strings.NewReader(body))
				failure := failureIn(t, text)
				// Who is not logged in is told that before anything is read of a stream.
				if code := failure.GetCode(); code != test.want && (!streams || code != "E_SESSION") {
					t.Errorf("status %d, failure %q (%s), want %s", status, code, failure.GetMessage(), test.want)
				}
			})
		}
	}
	c := w.user("ada")
	for _, procedure := range []string{pb.TrackerServicePutManifestProcedure, pb.TrackerServiceAttachProcedure} {
		_, text := rawAs(t, c, w, procedure, "application/connect+proto", strings.NewReader(frame("\xff\xff\xff")))
		if code := failureIn(t, text).GetCode(); code != "E_USAGE" {
			t.Errorf("%s with a session: %q, want E_USAGE in %q", procedure, code, text)
		}
	}
}

// failureIn reads the Failure of a Connect error, be it a body or the last
// message of a stream.
func failureIn(t *testing.T, text string) *pb.Failure {
	t.Helper()
	type details struct {
		Details []struct{ Type, Value string }
	}
	var body struct {
		details
		Error details
	}
	if i := strings.IndexByte(text, '{'); i < 0 || json.Unmarshal([]byte(text[i:]), &body) != nil {
		t.Fatalf("no error in %q", text)
	}
	for _, d := range append(body.Details, body.Error.Details...) {
		b, err := base64.RawStdEncoding.DecodeString(d.Value)
		f := new(pb.Failure)
		if err == nil && proto.Unmarshal(b, f) == nil {
			return f
		}
	}
	t.Fatalf("no Failure in %q", text)
	return nil
}
