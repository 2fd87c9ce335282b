package main_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
)

// step is a command and all that it answers, plain and with --json. In both,
// <name> stands for what matches the pattern of that name. Lists are asked for
// again until they are as told: news from another tracker takes its time.
type step struct {
	who, command string
	plain        string // standard output; empty for none
	json         string // the fields of result, and no others
	code         string // of the error, for a command that must fail
}

// blanks are the patterns of what is not the same in every run.
func blanks() map[string]string {
	return map[string]string{
		"sha1": "[0-9a-f]{40}", "id": "[0-9a-f]{64}", "n": "[0-9]+", "seconds": `[0-9.e-]+`, "address": "/ip4/127.0.0.1/tcp/[0-9]+/p2p/12D3Koo[0-9A-Za-z]+",
		"peer": "12D3Koo[0-9A-Za-z]+", "files": ".*-files", "dir": ".*", "state": "connected|reachable", "progress": "[0-9]+ %.*", "copies": "[12]",
		"sid": "[0-9a-f]{32}", "time": `20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z`, "device": ".*", "flag": "true|false",
	}
}

// stored is the fields of all that change something.
const stored = `"stored_on":"<copies>","trackers":2`

// contract is every command of the client, in the order of a whole life. The
// files: a.bin of 600,000 bytes, d.bin of 10, "b c.bin" that is empty.
func contract() []step {
	got := func(group, name, size, pieces string) string {
		peers := `[{"peer":"<peer>","user":"ada","pieces":` + pieces + `}]`
		if pieces == "0" {
			peers = "[]"
		}
		return `{"group":"` + group + `","name":"` + name + `","path":"<files>/` + name + `","size":` + size + `,"sha1":"<sha1>","id":"<id>","seconds":"<seconds>","wasted":0,"peers":` + peers + `}`
	}
	shown := func(name, size string) string {
		return `{"group":"Lab 1","name":"` + name + `","state":"complete","reason":"","size":` + size + `,"done":` + size + `,"rate":"<n>","peers":"<n>","eta":0}`
	}
	return []step{
		{"ada", "whoami", "", "", "E_SESSION"},
		{"ada", "create_user ada 'secret of ada'", "user ada created\n", `{"user":"ada",` + stored + `}`, ""},
		{"ada", "login ada 'secret of ada'", "logged in as ada\n", `{"user":"ada",` + stored + `}`, ""},
		{"ada", "WhoAmI", "ada\n", `{"user":"ada"}`, ""},
		{
			"ada", "sessions", "<sid>\t<time>\t<time>\tthis\t<device>\n",
			`{"sessions":[{"id":"<sid>","since":"<time>","last_seen":"<time>","this":true,"online":"<flag>","device":"<device>"}]}`, "",
		},
		{"ada", "revoke_session 00112233445566778899aabbccddeeff", "", "", "E_NOT_FOUND"},
		{"ada", "revoke_session not-an-id", "", "", "E_NOT_FOUND"},
		{"ada", "list_groups", "", `{"groups":[]}`, ""},
		{"ada", "create_group 'Lab 1'", "group Lab 1 created\n", `{"group":"Lab 1",` + stored + `}`, ""},
		{"bob", "create_user bob 'secret of bob'", "user bob created\n", `{"user":"bob",` + stored + `}`, ""},
		{"bob", "login bob 'secret of bob'", "logged in as bob\n", `{"user":"bob",` + stored + `}`, ""},
		{"eve", "create_user eve 'secret of eve'", "user eve created\n", `{"user":"eve",` + stored + `}`, ""},
		{"eve", "login eve 'secret of eve'", "logged in as eve\n", `{"user":"eve",` + stored + `}`, ""},

		{"bob", "list_groups", "Lab 1\n", `{"groups":[{"name":"Lab 1","role":"none"}]}`, ""},
		{"bob", `join_group "Lab 1"`, "request to join Lab 1 sent\n", `{"group":"Lab 1",` + stored + `}`, ""},
		{"bob", "list_groups", "Lab 1\n", `{"groups":[{"name":"Lab 1","role":"requested"}]}`, ""},
		{"eve", `join_group "Lab 1"`, "request to join Lab 1 sent\n", `{"group":"Lab 1",` + stored + `}`, ""},
		{"ada", `list_requests "Lab 1"`, "bob\neve\n", `{"users":["bob","eve"]}`, ""},
		{"ada", `accept_request "Lab 1" bob`, "bob is now a member of Lab 1\n", `{"group":"Lab 1","user":"bob",` + stored + `}`, ""},
		{"ada", `reject_request "Lab 1" eve`, "request of eve to join Lab 1 refused\n", `{"group":"Lab 1","user":"eve",` + stored + `}`, ""},
		{"ada", `list_requests "Lab 1"`, "", `{"users":[]}`, ""},
		{"ada", `list_members "Lab 1"`, "ada\towner\nbob\tmember\n", `{"members":[{"user":"ada","role":"owner"},{"user":"bob","role":"member"}]}`, ""},
		{"bob", "list_groups", "Lab 1\n", `{"groups":[{"name":"Lab 1","role":"member"}]}`, ""},
		{"eve", `list_members "Lab 1"`, "", "", "E_NOT_MEMBER"},

		{
			"ada", `upload_file "Lab 1" a.bin`, "sharing a.bin\t600000\t5 pieces\tsha1 <sha1>\n",
			`{"group":"Lab 1","name":"a.bin","path":"<dir>/a.bin","size":600000,"pieces":5,"sha1":"<sha1>","id":"<id>",` + stored + `}`, "",
		},
		{
			"ada", `upload_file "b c.bin" "Lab 1"`, "sharing b c.bin\t0\t0 pieces\tsha1 <sha1>\n",
			`{"group":"Lab 1","name":"b c.bin","path":"<dir>/b c.bin","size":0,"pieces":0,"sha1":"<sha1>","id":"<id>",` + stored + `}`, "",
		},
		{
			"bob", `list_files "Lab 1"`, "a.bin\t600000\t1\tsha1 <sha1>\nb c.bin\t0\t1\tsha1 <sha1>\n",
			`{"files":[{"name":"a.bin","size":600000,"seeders":1,"sha1":"<sha1>","id":"<id>","uploader":"ada"},{"name":"b c.bin","size":0,"seeders":1,"sha1":"<sha1>","id":"<id>","uploader":"ada"}]}`, "",
		},
		{
			"ada", "list_shares", "Lab 1\ta.bin\t<dir>/a.bin\tsharing\nLab 1\tb c.bin\t<dir>/b c.bin\tsharing\n",
			`{"shares":[{"group":"Lab 1","name":"a.bin","path":"<dir>/a.bin","state":"sharing","reason":""},{"group":"Lab 1","name":"b c.bin","path":"<dir>/b c.bin","state":"sharing","reason":""}]}`, "",
		},
		{"bob", "show_downloads", "", `{"downloads":[]}`, ""},
		{"bob", "wait", "", `{"downloads":[]}`, ""},
		{"bob", `download_file "Lab 1" a.bin`, "downloaded a.bin\t<files>/a.bin\t600000\tsha1 <sha1>\n", got("Lab 1", "a.bin", "600000", "5"), ""},
		{"bob", `download_file "Lab 1" "b c.bin" &`, "downloading b c.bin\n", `{"group":"Lab 1","name":"b c.bin","state":"<any>"}`, ""},
		{"bob", "wait", "downloaded b c.bin\t<files>/b c.bin\t0\tsha1 <sha1>\n", `{"downloads":[` + got("Lab 1", "b c.bin", "0", "0") + `]}`, ""},
		{"bob", "wait 'Lab 1' a.bin", "downloaded a.bin\t<files>/a.bin\t600000\tsha1 <sha1>\n", `{"downloads":[` + got("Lab 1", "a.bin", "600000", "5") + `]}`, ""},
		{"bob", "Show_downloads", "[C] [Lab 1] a.bin\n[C] [Lab 1] b c.bin\n", `{"downloads":[` + shown("a.bin", "600000") + "," + shown("b c.bin", "0") + `]}`, ""},
		{"bob", "show_downloads -v", "[C] [Lab 1] a.bin\t<progress>\n[C] [Lab 1] b c.bin\t<progress>\n", `{"downloads":[` + shown("a.bin", "600000") + "," + shown("b c.bin", "0") + `]}`, ""},

		// With nobody who has it a download waits, and can be paused, resumed and cancelled.
		{
			"ada", `upload_file "Lab 1" d.bin`, "sharing d.bin\t10\t1 pieces\tsha1 <sha1>\n",
			`{"group":"Lab 1","name":"d.bin","path":"<dir>/d.bin","size":10,"pieces":1,"sha1":"<sha1>","id":"<id>",` + stored + `}`, "",
		},
		{"ada", "logout", "logged out\n", `{` + stored + `}`, ""},
		{"bob", `download_file --timeout 500ms "Lab 1" d.bin`, "", "", "E_NO_SEEDERS"},
		{"bob", `wait --timeout 100ms "Lab 1" d.bin`, "", "", "E_NO_SEEDERS"},
		{"bob", `pause_download "Lab 1" d.bin`, "paused d.bin\n", `{"group":"Lab 1","name":"d.bin","state":"paused"}`, ""},
		{
			"bob", "show_downloads", "[C] [Lab 1] a.bin\n[C] [Lab 1] b c.bin\n[D] [Lab 1] d.bin\n",
			`{"downloads":[` + shown("a.bin", "600000") + "," + shown("b c.bin", "0") + `,{"group":"Lab 1","name":"d.bin","state":"paused","reason":"<any>","size":10,"done":0,"rate":0,"peers":0,"eta":0}]}`, "",
		},
		{"bob", `resume_download "Lab 1" d.bin`, "resumed d.bin\n", `{"group":"Lab 1","name":"d.bin","state":"<any>"}`, ""},
		{"bob", `cancel_download "Lab 1" d.bin`, "cancelled d.bin\n", `{"group":"Lab 1","name":"d.bin"}`, ""},
		{"ada", "login ada 'secret of ada'", "logged in as ada\n", `{"user":"ada",` + stored + `}`, ""},

		{"ada", `stop_share "Lab 1" a.bin`, "stopped sharing a.bin in Lab 1\n", `{"group":"Lab 1","name":"a.bin",` + stored + `}`, ""},
		{"ada", `transfer_group "Lab 1" bob`, "bob now owns Lab 1\n", `{"group":"Lab 1","user":"bob",` + stored + `}`, ""},
		{"bob", `remove_member "Lab 1" ada`, "ada is no longer a member of Lab 1\n", `{"group":"Lab 1","user":"ada",` + stored + `}`, ""},
		{"bob", `leave_group "Lab 1"`, "left Lab 1\n", `{"group":"Lab 1",` + stored + `}`, ""},
		{"bob", "list_groups", "", `{"groups":[]}`, ""},
		{
			"ada", "trackers", "1\t<address>\t<state>\n2\t<address>\t<state>\n",
			`{"trackers":[{"number":1,"address":"<address>","state":"<state>","reason":""},{"number":2,"address":"<address>","state":"<state>","reason":""}]}`, "",
		},
		{"ada", "change_password 'secret of ada' 'changed by ada'", "password changed\n", `{` + stored + `}`, ""},
		{"ada", "logout", "logged out\n", `{` + stored + `}`, ""},
		{"ada", "login ada 'secret of ada'", "", "", "E_AUTH"},
		{"ada", "login ada 'changed by ada'", "logged in as ada\n", `{"user":"ada",` + stored + `}`, ""},
		{"ada", "help whoami", "usage: whoami\ntell who is logged in\n", `{"commands":[{"name":"whoami","args":"","help":"tell who is logged in"}]}`, ""},
	}
}

// TestContractPlain runs every command and compares all that it prints.
func TestContractPlain(t *testing.T) {
	t.Parallel()
	n, procs := contractWorld(t, func(n *network, name string) (*world.Proc, error) { return n.Plain(n.ctx, name) })
	for _, s := range contract() {
		n.repeat(s, func() error {
			p := procs[s.who]
			before := strings.Count(p.Stderr(), "error: ")
			if err := p.Write(s.command + "\nhelp quit"); err != nil {
				return err
			}
			out, err := n.untilHelp(p)
			if err != nil {
				return err
			}
			if !regexp.MustCompile("^" + fillIn(s.plain) + "$").MatchString(out) {
				return fmt.Errorf("answers %q, want %q", out, s.plain)
			}
			if s.code != "" {
				n.eventually("the error is told", func() bool { return strings.Count(p.Stderr(), "error: ") > before })
				if !strings.HasSuffix(p.Stderr(), " ("+s.code+")\n") {
					return fmt.Errorf("got %q, want %s", p.Stderr(), s.code)
				}
			} else if strings.Count(p.Stderr(), "error: ") > before {
				return fmt.Errorf("fails: %s", p.Stderr())
			}
			return nil
		})
	}
}

// untilHelp returns what comes before the answer to "help quit".
func (n *network) untilHelp(p *world.Proc) (string, error) {
	var out strings.Builder
	for {
		line, err := p.Line(n.ctx)
		if err != nil {
			return "", err
		}
		if line == "usage: quit" {
			_, err = p.Line(n.ctx)
			return out.String(), err
		}
		out.WriteString(line + "\n")
	}
}

// TestContractJSON runs every command with --json and compares all fields.
func TestContractJSON(t *testing.T) {
	t.Parallel()
	n, procs := contractWorld(t, func(n *network, name string) (*world.Proc, error) {
		c, err := n.Client(n.ctx, name)
		if err != nil {
			return nil, err
		}
		return c.Proc, nil
	})
	for _, s := range contract() {
		n.repeat(s, func() error {
			if err := procs[s.who].Write(s.command); err != nil {
				return err
			}
			line, err := procs[s.who].Line(n.ctx)
			if err != nil {
				return err
			}
			name := strings.ToLower(strings.Fields(s.command)[0])
			want := fmt.Sprintf(`{"command":%q,"ok":true,"result":%s}`, name, s.json)
			if s.code != "" {
				want = fmt.Sprintf(`{"command":%q,"ok":false,"error":{"code":%q,"message":"<any>"}}`, name, s.code)
			}
			got, err := decode(line)
			if err != nil {
				return err
			}
			expected, err := decode(want)
			if err != nil {
				return err
			}
			if where := differ(got, expected); where != "" {
				return fmt.Errorf("answers %s\nwant %s\nthey differ at %s", line, want, where)
			}
			return nil
		})
	}
}

// decode reads one value; numbers stay as they are written.
func decode(text string) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%q is no JSON: %w", text, err)
	}
	return v, nil
}

func contractWorld(t *testing.T, start func(*network, string) (*world.Proc, error)) (*network, map[string]*world.Proc) {
	t.Helper()
	n := newNetwork(t, 2)
	n.file("a.bin", 600_000, 7)
	n.file("b c.bin", 0, 8)
	n.file("d.bin", 10, 9)
	procs := make(map[string]*world.Proc)
	for _, name := range []string{"ada", "bob", "eve"} {
		p, err := start(n, name)
		if err != nil {
			t.Fatal(err)
		}
		procs[name] = p
	}
	return n, procs
}

// repeat takes a step; one that only asks, again and again for 10 s.
func (n *network) repeat(s step, do func() error) {
	n.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return
		}
		asks := s.code == "" && strings.HasPrefix(strings.ToLower(s.command), "list_") || s.command == "trackers"
		if !asks || time.Now().After(deadline) {
			n.t.Fatalf("%s: %s: %v", s.who, s.command, err)
		}
		<-tick.C
	}
}

var blank = regexp.MustCompile("<[a-z0-9]+>")

// fillIn turns a text with blanks into a regular expression.
func fillIn(text string) string {
	patterns := blanks()
	var re strings.Builder
	for {
		at := blank.FindStringIndex(text)
		if at == nil {
			return re.String() + regexp.QuoteMeta(text)
		}
		pattern, ok := patterns[text[at[0]+1:at[1]-1]]
		if !ok {
			pattern = ".*"
		}
		re.WriteString(regexp.QuoteMeta(text[:at[0]]) + "(" + pattern + ")")
		text = text[at[1]:]
	}
}

// differ tells where two values of JSON differ, "" if they do not. A string
// with blanks in want matches a string or number.
func differ(got, want any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || !slices.Equal(slices.Sorted(maps.Keys(g)), slices.Sorted(maps.Keys(w))) {
			return fmt.Sprintf("the fields of %v", got)
		}
		for k, v := range w {
			if where := differ(g[k], v); where != "" {
				return k + ": " + where
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("the length of %v", got)
		}
		for i, v := range w {
			if where := differ(g[i], v); where != "" {
				return fmt.Sprintf("%d: %s", i, where)
			}
		}
		return ""
	case string:
		if blank.MatchString(w) && regexp.MustCompile("^"+fillIn(w)+"$").MatchString(fmt.Sprint(got)) {
			return ""
		}
	}
	if got != want {
		return fmt.Sprintf("%#v", got)
	}
	return ""
}
