package shell_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/progress"
	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/shell"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestMain(m *testing.M) {
	// The line editor listens for changes of the window's size until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ergochat/readline/internal/platform.DefaultOnSizeChanged.func1.1"))
}

// rig is a shell over a fake.
type rig struct {
	*shell.Shell
	client   *fakeClient
	out, err *bytes.Buffer
}

func newRig(asJSON bool) rig {
	r := rig{client: &fakeClient{user: "ada", stored: node.Stored{On: 2, Trackers: 2}}, out: new(bytes.Buffer), err: new(bytes.Buffer)}
	var shown progress.Renderer = progress.NewLines(r.err, time.Now)
	if asJSON {
		shown = progress.NewJSON(r.err, time.Now)
	}
	r.Shell = shell.New(shell.Options{Client: r.client, Out: r.out, Err: r.err, JSON: asJSON, Progress: shown})
	return r
}

const (
	sha1AB = "ab00000000000000000000000000000000000000"
	sha112 = "1200000000000000000000000000000000000000"
	idCD   = "cd00000000000000000000000000000000000000000000000000000000000000"
	id34   = "3400000000000000000000000000000000000000000000000000000000000000"
)

// filled gives the fake something of everything.
func filled(f *fakeClient) {
	f.groups = []node.Group{{Name: "docs", Role: "owner"}, {Name: "Holiday pictures", Role: "none"}}
	f.requests = []string{"bob", "eve"}
	noon := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	f.sessions = []node.Session{
		{ID: "ab01", Device: "desk", Since: noon.Add(-time.Hour), LastSeen: noon, Online: true, This: true},
		{ID: "cd02", Device: "phone\x1b", Since: noon.Add(-25 * time.Hour), LastSeen: noon.Add(-24*time.Hour - 30*time.Minute)},
	}
	f.members = []node.Member{{User: "ada", Role: "owner"}, {User: "bob~3f9a", Role: "member"}}
	f.files = []node.File{{Name: "a b.bin", Size: 524289, Seeders: 3, SHA1: protocol.SHA1{0xab}, ID: protocol.FileID{0xcd}, Uploader: "ada"}}
	f.shares = []node.ShareInfo{
		{Group: "docs", Name: "a.bin", Path: "/x/a.bin", State: "sharing"},
		{Group: "docs", Name: "b.bin", Path: "/x/b.bin", State: "stopped", Reason: "the file changed"},
	}
	f.trackers = []node.TrackerInfo{
		{Number: 1, Address: "127.0.0.1:5000", State: "connected"},
		{Number: 2, Address: "127.0.0.1:7000", State: "unreachable", Reason: "connection refused"},
	}
	running := newDownload(node.Progress{Group: "docs", Name: "run.bin", State: node.Downloading, Done: 50, Total: 200, Rate: 1048576, Peers: 2, ETA: 3 * time.Second})
	waiting := newDownload(node.Progress{Group: "docs", Name: "w.bin", State: node.Waiting, Reason: protocol.CodeNoSeeders, Message: "no member online has it", Total: 10})
	failed := newDownload(node.Progress{Group: "docs", Name: "f.bin", State: node.Downloading, Total: 10})
	failed.end(node.Result{}, protocol.Errorf(protocol.CodeRevoked, "you were removed"))
	f.downloads = []shell.Download{running, waiting, failed, finished("docs", "done.bin")}
	f.next = finished("docs", "run.bin")
}

func TestCommands(t *testing.T) {
	done := `{"group":"docs","name":"run.bin","path":"/down/run.bin","size":1048576,"sha1":"` + sha112 + `","id":"` + id34 +
		`","seconds":1.5,"wasted":7,"peers":[{"peer":"12D3","user":"ada","pieces":2}]}`
	tests := []struct {
		line, plain, json, calls string
	}{
		{"create_user ada secret-8", "user ada created\n", `{"user":"ada","stored_on":2,"trackers":2}`, "CreateUser ada secret-8"},
		{"login ada secret-8", "logged in as ada\n", `{"user":"ada","stored_on":2,"trackers":2}`, "Login ada secret-8"},
		{"LOGIN ada 'a b'", "logged in as ada\n", `{"user":"ada","stored_on":2,"trackers":2}`, "Login ada a b"},
		{"logout", "logged out\n", `{"stored_on":2,"trackers":2}`, "Logout"},
		{"whoami", "ada\n", `{"user":"ada"}`, ""},
		{"change_password old-word new-word", "password changed\n", `{"stored_on":2,"trackers":2}`, "ChangePassword old-word new-word"},
		{
			"sessions", "ab01\t2026-11-20T09:00:00Z\t2026-11-20T10:00:00Z\tthis\tdesk\ncd02\t2026-11-19T09:00:00Z\t2026-11-19T09:30:00Z\tother\tphone\\u001b\n",
			`{"sessions":[{"id":"ab01","since":"2026-11-20T09:00:00Z","last_seen":"2026-11-20T10:00:00Z","this":true,"online":true,"device":"desk"},` +
				`{"id":"cd02","since":"2026-11-19T09:00:00Z","last_seen":"2026-11-19T09:30:00Z","this":false,"online":false,"device":"phone\u001b"}]}`, "Sessions",
		},
		{"revoke_session CD02", "session cd02 ended\n", `{"session":"cd02","stored_on":2,"trackers":2}`, "RevokeSession CD02"},
		{"create_group docs", "group docs created\n", `{"group":"docs","stored_on":2,"trackers":2}`, "CreateGroup docs"},
		{`create_group "Holiday pictures"`, "group Holiday pictures created\n", `{"group":"Holiday pictures","stored_on":2,"trackers":2}`, "CreateGroup Holiday pictures"},
		{"list_groups", "docs\nHoliday pictures\n", `{"groups":[{"name":"docs","role":"owner"},{"name":"Holiday pictures","role":"none"}]}`, "Groups"},
		{"join_group docs", "request to join docs sent\n", `{"group":"docs","stored_on":2,"trackers":2}`, "JoinGroup docs"},
		{"leave_group docs", "left docs\n", `{"group":"docs","stored_on":2,"trackers":2}`, "LeaveGroup docs"},
		{"list_requests docs", "bob\neve\n", `{"users":["bob","eve"]}`, "Requests docs"},
		{"accept_request docs bob", "bob is now a member of docs\n", `{"group":"docs","user":"bob","stored_on":2,"trackers":2}`, "AcceptRequest docs bob"},
		{"reject_request docs bob", "request of bob to join docs refused\n", `{"group":"docs","user":"bob","stored_on":2,"trackers":2}`, "RejectRequest docs bob"},
		{"list_members docs", "ada\towner\nbob~3f9a\tmember\n", `{"members":[{"user":"ada","role":"owner"},{"user":"bob~3f9a","role":"member"}]}`, "Members docs"},
		{"remove_member docs bob", "bob is no longer a member of docs\n", `{"group":"docs","user":"bob","stored_on":2,"trackers":2}`, "RemoveMember docs bob"},
		{"transfer_group docs bob", "bob now owns docs\n", `{"group":"docs","user":"bob","stored_on":2,"trackers":2}`, "TransferGroup docs bob"},
		{
			"upload_file docs /", "sharing a b.bin\t524289\t2 pieces\tsha1 " + sha1AB + "\n",
			`{"group":"docs","name":"a b.bin","path":"/data/a b.bin","size":524289,"pieces":2,"sha1":"` + sha1AB + `","id":"` + idCD + `","stored_on":2,"trackers":2}`,
			"Share docs /",
		},
		{
			"list_files docs", "a b.bin\t524289\t3\tsha1 " + sha1AB + "\n",
			`{"files":[{"name":"a b.bin","size":524289,"seeders":3,"sha1":"` + sha1AB + `","id":"` + idCD + `","uploader":"ada"}]}`, "Files docs",
		},
		{
			"list_shares", "docs\ta.bin\t/x/a.bin\tsharing\ndocs\tb.bin\t/x/b.bin\tthe file changed\n",
			`{"shares":[{"group":"docs","name":"a.bin","path":"/x/a.bin","state":"sharing","reason":""},{"group":"docs","name":"b.bin","path":"/x/b.bin","state":"stopped","reason":"the file changed"}]}`,
			"Shares",
		},
		{"stop_share docs a.bin", "stopped sharing a.bin in docs\n", `{"group":"docs","name":"a.bin","stored_on":2,"trackers":2}`, "Unshare docs a.bin"},
		{"download_file docs run.bin", "downloaded run.bin\t/down/run.bin\t1048576\tsha1 " + sha112 + "\n", done, `Download docs run.bin ""`},
		{"download_file --timeout 30s docs run.bin /down/", "downloaded run.bin\t/down/run.bin\t1048576\tsha1 " + sha112 + "\n", done, `Download docs run.bin "/down/"`},
		{"download_file docs run.bin &", "downloading run.bin\n", `{"group":"docs","name":"run.bin","state":"complete"}`, `Download docs run.bin ""`},
		{
			"Show_downloads", "[D] [docs] run.bin\n[D] [docs] w.bin\n[D] [docs] f.bin\n[C] [docs] done.bin\n",
			`{"downloads":[` +
				`{"group":"docs","name":"run.bin","state":"downloading","reason":"","size":200,"done":50,"rate":1048576,"peers":2,"eta":3},` +
				`{"group":"docs","name":"w.bin","state":"waiting","reason":"E_NO_SEEDERS","size":10,"done":0,"rate":0,"peers":0,"eta":0},` +
				`{"group":"docs","name":"f.bin","state":"failed","reason":"E_REVOKED","size":10,"done":0,"rate":0,"peers":0,"eta":0},` +
				`{"group":"docs","name":"done.bin","state":"complete","reason":"","size":1048576,"done":1048576,"rate":0,"peers":0,"eta":0}]}`, "Downloads",
		},
		{
			"show_downloads -v", "[D] [docs] run.bin\t25 %\t1.0 MiB/s\t2 peers\t3s left\n[D] [docs] w.bin\t0 %\twaiting: no member online has it (E_NO_SEEDERS)\n" +
				"[D] [docs] f.bin\t0 %\tfailed: you were removed (E_REVOKED)\n[C] [docs] done.bin\t100 %\n", "", "Downloads",
		},
		{"pause_download DOCS run.bin", "paused run.bin\n", `{"group":"docs","name":"run.bin","state":"paused"}`, "Downloads"},
		{"resume_download docs run.bin", "resumed run.bin\n", `{"group":"docs","name":"run.bin","state":"downloading"}`, "Downloads"},
		{"cancel_download docs run.bin", "cancelled run.bin\n", `{"group":"docs","name":"run.bin"}`, "Downloads"},
		{"wait docs done.bin", "downloaded done.bin\t/down/done.bin\t1048576\tsha1 " + sha112 + "\n", `{"downloads":[` + strings.ReplaceAll(done, "run.bin", "done.bin") + `]}`, "Downloads"},
		{"trackers", "1\t127.0.0.1:5000\tconnected\n2\t127.0.0.1:7000\tunreachable: connection refused\n", `{"trackers":[{"number":1,"address":"127.0.0.1:5000","state":"connected","reason":""},{"number":2,"address":"127.0.0.1:7000","state":"unreachable","reason":"connection refused"}]}`, ""},
		{"help whoami", "usage: whoami\ntell who is logged in\n", `{"commands":[{"name":"whoami","args":"","help":"tell who is logged in"}]}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			r := newRig(false)
			filled(r.client)
			if err := r.Run(t.Context(), tt.line); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.plain, r.out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			if got := r.client.said(); got != tt.calls {
				t.Errorf("calls: %s, want %s", got, tt.calls)
			}
			if tt.json == "" {
				return
			}
			r = newRig(true)
			filled(r.client)
			if err := r.Run(t.Context(), tt.line); err != nil {
				t.Fatal(err)
			}
			want := `{"command":"` + strings.ToLower(strings.Fields(tt.line)[0]) + `","ok":true,"result":` + tt.json + `}`
			if diff := cmp.Diff(object(t, want), object(t, r.out.String())); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
			if lines := strings.Count(r.out.String(), "\n"); lines != 1 {
				t.Errorf("%d lines of JSON, want 1", lines)
			}
		})
	}
}

// The list says which commands there are at all: what is not finished is not there.
func TestHelpListsEveryCommand(t *testing.T) {
	r := newRig(true)
	if err := r.Run(t.Context(), "help"); err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Result struct{ Commands []struct{ Name string } }
	}
	if err := json.Unmarshal(r.out.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range answer.Result.Commands {
		got = append(got, c.Name)
	}
	want := strings.Fields(`create_user login logout whoami change_password sessions revoke_session create_group list_groups join_group list_requests accept_request
		reject_request list_members remove_member transfer_group leave_group upload_file list_files list_shares stop_share download_file
		show_downloads pause_download resume_download cancel_download wait trackers help quit exit`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

// --help behind any command tells what help tells.
func TestHelpFlag(t *testing.T) {
	for _, line := range []string{"download_file --help", "download_file -h docs a.bin", "Join_group --help", "wait --help"} {
		r := newRig(false)
		if err := r.Run(t.Context(), line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		name, _, _ := strings.Cut(strings.ToLower(line), " ")
		if !strings.HasPrefix(r.out.String(), "usage: "+name+" ") || r.client.said() != "" {
			t.Errorf("%s: output %q, calls %q", line, r.out, r.client.said())
		}
	}
	r := newRig(true)
	if err := r.Run(t.Context(), "wait --help"); err != nil || !strings.HasPrefix(r.out.String(), `{"command":"wait","ok":true,"result":{"commands":[{"args":"`) {
		t.Errorf("with --json: %v, %s", err, r.out)
	}
}

// Who removes himself hears what becomes of the group.
func TestRemovingOneself(t *testing.T) {
	const left = "note: you have left the group; the member who is in for longest owns it now, and without members it is gone\n"
	for user, want := range map[string]string{"Ada": left, "bob": ""} {
		r := newRig(false)
		if err := r.Run(t.Context(), "remove_member docs "+user); err != nil || r.err.String() != want {
			t.Errorf("remove_member of %s: %v, notes %q, want %q", user, err, r.err, want)
		}
	}
}

// brokenOutput takes nothing.
type brokenOutput struct{}

func (brokenOutput) Write([]byte) (int, error) { return 0, protocol.ErrDiskFull }

// A command whose answer cannot be written has failed, and ends a script that is
// to stop at the first failure.
func TestAnswerThatCannotBeWritten(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		r := newRig(asJSON)
		r.Out = brokenOutput{}
		lines := shell.Commands{"whoami", "logout"}
		if err := r.RunScript(t.Context(), &lines, true); !errors.Is(err, protocol.ErrDiskFull) {
			t.Errorf("with --json %v: %v, want E_DISK_FULL", asJSON, err)
		}
		if r.client.said() != "" || strings.Count(r.err.String(), "error: ") != 1 {
			t.Errorf("with --json %v: it went on: %s, %s", asJSON, r.client.said(), r.err)
		}
	}
}

func TestErrors(t *testing.T) {
	failing := protocol.Errorf(protocol.CodeNotMember, "you are not a member of \"docs\"")
	usage := map[string]string{
		"frobnicate a b":                  `unknown command "frobnicate"; "help" lists the commands`,
		"create_user":                     "create_user: 0 arguments; usage: create_user USER [PASSWORD]",
		"create_user a b c":               "create_user: 3 arguments; usage: create_user USER [PASSWORD]",
		"logout now":                      "logout: 1 argument; usage: logout",
		"change_password old":             "change_password: 1 argument; usage: change_password [OLD NEW]",
		"create_group":                    "create_group: 0 arguments; usage: create_group GROUP",
		"accept_request docs":             "accept_request: 1 argument; usage: accept_request GROUP USER",
		"upload_file docs":                "upload_file: 1 argument; usage: upload_file GROUP PATH",
		"download_file docs":              "download_file: 1 argument; usage: download_file [--timeout DURATION] GROUP NAME [DEST] [&]",
		"download_file --timeout x a b":   `download_file: invalid value "x" for flag -timeout: DURATION is written like 90s, 5m or 1h30m; usage: download_file [--timeout DURATION] GROUP NAME [DEST] [&]`,
		"download_file --timeout -1s a b": "download_file: a timeout is not negative; usage: download_file [--timeout DURATION] GROUP NAME [DEST] [&]",
		"wait docs":                       "wait: 1 argument; usage: wait [--timeout DURATION] [GROUP NAME]",
		"show_downloads --all":            "show_downloads: flag provided but not defined: -all; usage: show_downloads [-v]",
		"whoami &":                        "whoami: & stands behind download_file only; usage: whoami",
		"&":                               "& stands behind a download_file command",
		"help frobnicate":                 `unknown command "frobnicate"; "help" lists the commands`,
		"login ada 'open":                 "the line cannot be read: a quote or backslash is left open",
		"pause_download docs":             "pause_download: 1 argument; usage: pause_download GROUP NAME",
		"\x1b[2Jx":                        `unknown command "\u001b[2Jx"; "help" lists the commands`,
	}
	for line, want := range usage {
		t.Run(line, func(t *testing.T) {
			r := newRig(false)
			err := r.Run(t.Context(), line)
			if protocol.CodeOf(err) != protocol.CodeUsage {
				t.Errorf("got %v, want E_USAGE", err)
			}
			if got, want := r.err.String(), "error: "+want+" (E_USAGE)\n"; got != want {
				t.Errorf("error output:\n%s\nwant:\n%s", got, want)
			}
			if r.out.Len() > 0 || r.client.said() != "" {
				t.Errorf("output %q and calls %q, want none", r.out, r.client.said())
			}
		})
	}
	for _, line := range []string{
		"create_user ada secret-8", "login ada secret-8", "logout", "change_password old-word new-word", "create_group docs", "list_groups",
		"join_group docs", "leave_group docs", "list_requests docs", "accept_request docs bob", "reject_request docs bob", "list_members docs",
		"remove_member docs bob", "transfer_group docs bob", "upload_file docs /", "list_files docs", "list_shares", "stop_share docs a",
		"download_file docs a", "download_file docs a &", "show_downloads", "wait", "wait docs a", "pause_download docs a", "resume_download docs a", "cancel_download docs a",
	} {
		t.Run("failing "+line, func(t *testing.T) {
			r := newRig(true)
			r.client.err = failing
			if err := r.Run(t.Context(), line); !errors.Is(err, protocol.ErrNotMember) {
				t.Errorf("got %v, want the client's error", err)
			}
			want := map[string]any{
				"command": strings.Fields(line)[0], "ok": false,
				"error": map[string]any{"code": "E_NOT_MEMBER", "message": `you are not a member of "docs"`},
			}
			if diff := cmp.Diff(want, object(t, r.out.String())); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
			if got, want := r.err.String(), "error: you are not a member of \"docs\" (E_NOT_MEMBER)\n"; got != want {
				t.Errorf("error output %q, want %q", got, want)
			}
		})
	}
	t.Run("not logged in", func(t *testing.T) {
		for _, line := range []string{"whoami", "upload_file docs absent", "change_password old-word new-word"} {
			r := newRig(false)
			r.client.user = ""
			if err := r.Run(t.Context(), line); !errors.Is(err, protocol.ErrSession) {
				t.Errorf("%s: got %v, want E_SESSION", line, err)
			}
		}
	})
	t.Run("an unreadable line tells no argument", func(t *testing.T) {
		r := newRig(true)
		_ = r.Run(t.Context(), `"hush hush`)
		if strings.Contains(r.out.String()+r.err.String(), "hush") {
			t.Errorf("output %q, errors %q", r.out, r.err)
		}
	})
	t.Run("text of others is escaped", func(t *testing.T) {
		r := newRig(false)
		r.client.files = []node.File{{Name: "a\x1b[2J\tb\nc\u202e", Uploader: "x"}}
		r.client.requests = []string{"\x1b]0;x\a"}
		for _, line := range []string{"list_files docs", "list_requests docs"} {
			if err := r.Run(t.Context(), line); err != nil {
				t.Fatal(err)
			}
		}
		if strings.ContainsAny(r.out.String(), "\x1b\a\u202e") || strings.Count(r.out.String(), "\n") != 2 || strings.Count(r.out.String(), "\t") != 3 {
			t.Errorf("output %q", r.out)
		}
	})
}

func TestUploadArguments(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"file", "docs", "both"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("sub", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("sub", "x y"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	groups := []node.Group{{Name: "Docs", Role: "member"}, {Name: "file", Role: "requested"}}
	tests := []struct{ name, line, want string }{
		{"group first", "upload_file team file", "Share team file"},
		{"path first", "upload_file file team", "Share team file"},
		{"quoted path first", `upload_file "sub/x y" team`, "Share team sub/x y"},
		{"both exist, the second is a group of mine", "upload_file both docs", "Groups; Share docs both"},
		{"both exist, the first is a group of mine", "upload_file docs both", "Groups; Share docs both"},
		{"both exist, neither is a group of mine", "upload_file both file", "Groups; Share both file"},
		{"neither exists, the second is a group of mine", "upload_file absent DOCS/../docS", "Groups; Share absent DOCS/../docS"},
		{"neither exists", "upload_file absent Absent", "Groups; Share absent Absent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(false)
			r.client.groups = groups
			if err := r.Run(t.Context(), tt.line); err != nil {
				t.Fatal(err)
			}
			if got := r.client.said(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNotes(t *testing.T) {
	tests := []struct {
		name   string
		stored node.Stored
		want   string
	}{
		{"everywhere", node.Stored{On: 2, Trackers: 2}, ""},
		{"two of three", node.Stored{On: 2, Trackers: 3}, ""},
		{"the only one", node.Stored{On: 1, Trackers: 1}, ""},
		{"none", node.Stored{Trackers: 2}, "note: no tracker knows of it yet; they are told once one is reachable\n"},
		{"one of two", node.Stored{On: 1, Trackers: 2}, "note: stored on 1 of 2 trackers; the others get it once they are reachable\n"},
		{"repeated", node.Stored{On: 2, Trackers: 2, Already: true}, "note: nothing changed, it was so already\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(false)
			r.client.stored = tt.stored
			if err := r.Run(t.Context(), "join_group docs"); err != nil {
				t.Fatal(err)
			}
			if got := r.err.String(); got != tt.want {
				t.Errorf("notes %q, want %q", got, tt.want)
			}
			if got := r.out.String(); got != "request to join docs sent\n" {
				t.Errorf("output %q", got)
			}
		})
	}
}

// object decodes JSON for comparison.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}
