package shell_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/shell"
	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestRunScript(t *testing.T) {
	tests := []struct {
		name, script string
		stop         bool
		want         protocol.Code
		calls        string
	}{
		{"comments and blank lines", "# one\n\n   \n  # two\nlogout\r\n", false, "", "Logout"},
		{"no line end at the end", "logout", false, "", "Logout"},
		{"goes on behind a failure", "frobnicate\ncreate_group\nlogout\n", false, protocol.CodeUsage, "Logout"},
		{"the first failure counts", "create_user 'b/ob' secret-8\nfrobnicate\n", false, protocol.CodeName, ""},
		{"stops at the first failure", "frobnicate\nlogout\n", true, protocol.CodeUsage, ""},
		{"quit", "logout\nquit\nlogout\n", false, "", "Logout"},
		{"EXIT", "EXIT\nlogout\n", false, "", ""},
		{"quit after a failure", "frobnicate\nquit\n", false, protocol.CodeUsage, ""},
		{"nothing is expanded", "join_group $HOME`id`(x);y|z>w<v&u\n", false, "", "JoinGroup $HOME`id`(x);y|z>w<v&u"},
		{"quotes", `join_group "a b"'c'\ d` + "\n", false, "", "JoinGroup a bc d"},
		{"an ampersand in quotes", "stop_share docs '&'\nstop_share docs \\&\n", false, "", "Unshare docs &; Unshare docs &"},
		{"a line too long", "logout\n" + strings.Repeat("x", 100_000) + "\nlogout\n", false, protocol.CodeUsage, "Logout; Logout"},
		{"nothing", "", false, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(false)
			in := shell.NewInput(strings.NewReader(tt.script))
			defer in.Close()
			if err := r.RunScript(t.Context(), in, tt.stop); protocol.CodeOf(err) != tt.want {
				t.Errorf("got %v, want code %q", err, tt.want)
			}
			if got := r.client.said(); got != tt.calls {
				t.Errorf("calls %q, want %q", got, tt.calls)
			}
		})
	}
}

func TestPasswordsFromTheScript(t *testing.T) {
	r := newRig(false)
	in := shell.NewInput(strings.NewReader("create_user bob\n# no comment \nlogin bob\nsecret 8\nlogin eve on-the-line\nchange_password\nold-word\nnew-word\nlogin bob"))
	defer in.Close()
	r.Secret = in.Secret
	err := r.RunScript(t.Context(), in, false)
	if protocol.CodeOf(err) != protocol.CodeUsage || !strings.Contains(err.Error(), "standard input has ended") {
		t.Errorf("got %v, want E_USAGE for the last command", err)
	}
	want := "CreateUser bob # no comment ; Login bob secret 8; Login eve on-the-line; ChangePassword old-word new-word"
	if got := r.client.said(); got != want {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func TestCommandsAreAScript(t *testing.T) {
	r := newRig(false)
	commands := shell.Commands{"logout", "whoami"}
	if err := r.RunScript(t.Context(), &commands, false); err != nil {
		t.Fatal(err)
	}
	if got := r.out.String(); got != "logged out\nada\n" {
		t.Errorf("output %q", got)
	}
}

func TestScriptEndsWithItsContext(t *testing.T) {
	r := newRig(false)
	ours, theirs := io.Pipe()
	in := shell.NewInput(ours)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.RunScript(ctx, in, false) }()
	if _, err := io.WriteString(theirs, "logout\n"); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("between two commands: got %v", err)
	}
	in.Close()
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestScriptEndsWithinACommand(t *testing.T) {
	r := newRig(false)
	d := stuck("a.bin")
	r.client.next = d
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-d.waited
		cancel()
	}()
	commands := shell.Commands{"download_file docs a.bin", "logout"}
	if err := r.RunScript(ctx, &commands, false); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if strings.Contains(r.client.said(), "Logout") {
		t.Error("it goes on with the next command")
	}
}

// FuzzRun checks that no line makes the shell panic, that every line that is
// not blank is answered by exactly one object, and that no control character of
// the line reaches the output.
func FuzzRun(f *testing.F) {
	for _, seed := range []string{"login a b", "upload_file a 'b c' &", "&", "\"", "help \x1b", "wait --timeout 1s a b", "show_downloads -v", "# x", "download_file -- -a -b &"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		defer frugal.Check(t)()
		r := newRig(true)
		filled(r.client)
		r.client.downloads = nil
		_ = r.Run(t.Context(), line)
		trimmed := strings.TrimSpace(line)
		want := 1
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			want = 0
		}
		if got := strings.Count(r.out.String(), "\n"); got != want && !onlyQuotes(trimmed) {
			t.Errorf("%d answers to %q, want %d", got, line, want)
		}
		if strings.ContainsAny(r.out.String()+r.err.String(), "\x1b\x00\x07") {
			t.Errorf("a control character of %q reached the output", line)
		}
	})
}

// onlyQuotes reports whether a line may have no words though it is not blank.
func onlyQuotes(line string) bool { return strings.Trim(line, "\"' \t\r\n&") == "" }
