package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker"
)

// fakeTracker answers the console.
type fakeTracker struct {
	err    error
	calls  []string
	status func(*tracker.Status)
}

func (f *fakeTracker) Status() tracker.Status {
	s := tracker.Status{Serving: true, Connected: 1, Trackers: 2, Users: 3, Groups: 4, Files: 5, Online: 6}
	if f.status != nil {
		f.status(&s)
	}
	return s
}

func (f *fakeTracker) ResetPassword(_ context.Context, user string) (string, error) {
	f.calls = append(f.calls, "reset "+user)
	return "new-random-word", f.err
}

func (f *fakeTracker) SetDisabled(_ context.Context, user string, disabled bool) error {
	call := "enable "
	if disabled {
		call = "disable "
	}
	f.calls = append(f.calls, call+user)
	return f.err
}

func TestConsole(t *testing.T) {
	missing := protocol.Errorf(protocol.CodeNotFound, "there is no user \"bob\"")
	tests := []struct {
		name, line string
		err        error
		out, told  string
		calls      string
		quit       bool
	}{
		{"blank", "  ", nil, "", "", "", false},
		{"status", "STATUS", nil, "serving\tyes\ntrackers\t1 of 2 connected\nusers\t3\ngroups\t4\nfiles\t5\nonline\t6\nlag\tnone\n", "", "", false},
		{"quit", "quit", nil, "", "", "", true},
		{"exit", "Exit", nil, "", "", "", true},
		{"reset", "reset_password bob", nil, "password of bob: new-random-word\n", "", "reset bob", false},
		{"reset fails", "reset_password bob", missing, "", "error: there is no user \"bob\" (E_NOT_FOUND)\n", "reset bob", false},
		{"disable", "disable_user bob", nil, "user bob disabled\n", "", "disable bob", false},
		{"enable", "enable_user bob", nil, "user bob enabled\n", "", "enable bob", false},
		{"disable fails", "disable_user bob", missing, "", "error: there is no user \"bob\" (E_NOT_FOUND)\n", "disable bob", false},
		{"no user", "disable_user", nil, "", "error: usage: disable_user USER (E_USAGE)\n", "", false},
		{"nonsense", "x\x1by", nil, "", "error: \"x\\u001by\" is not understood; \"help\" lists the commands (E_USAGE)\n", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, told bytes.Buffer
			f := &fakeTracker{err: tt.err}
			quit := console(t.Context(), f, streams{out: &out, err: &told}, tt.line)
			if quit != tt.quit || out.String() != tt.out || told.String() != tt.told || strings.Join(f.calls, ";") != tt.calls {
				t.Errorf("quit %v, output %q, errors %q, calls %v", quit, &out, &told, f.calls)
			}
		})
	}
}

// What is wrong stands in the line that it is about, and adds none: who reads
// status counts lines.
func TestStatusTellsWhatIsWrong(t *testing.T) {
	const rest = "users\t3\ngroups\t4\nfiles\t5\nonline\t6\n"
	tests := []struct {
		name   string
		status func(*tracker.Status)
		want   string
	}{
		{
			"not serving", func(s *tracker.Status) { s.Serving, s.Reason = false, "it is blank" },
			"serving\tno: it is blank\ntrackers\t1 of 2 connected\n" + rest + "lag\tnone\n",
		},
		{
			"disk", func(s *tracker.Status) { s.Trouble = "the disk is full" },
			"serving\tyes, but: the disk is full\ntrackers\t1 of 2 connected\n" + rest + "lag\tnone\n",
		},
		{
			"others", func(s *tracker.Status) {
				s.Missing, s.Behind = []string{"tracker 2: away"}, []string{"tracker 3 for 20s"}
			},
			"serving\tyes\ntrackers\t1 of 2 connected; tracker 2: away\n" + rest + "lag\tnothing was exchanged with tracker 3 for 20s\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			console(t.Context(), &fakeTracker{status: tt.status}, streams{out: &out}, "status")
			if out.String() != tt.want || strings.Count(out.String(), "\n") != statusLines {
				t.Errorf("got\n%swant\n%s", &out, tt.want)
			}
		})
	}
}

func TestLogLines(t *testing.T) {
	dir := t.TempDir()
	log, err := openLog(dir, "test.log")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600))
	log.line(at, "what", "upload_file", "user", "", "object", "a \"b\"\n\x1b[2J")
	path := filepath.Join(dir, "test.log")
	if b, err := os.ReadFile(path); len(b) > 0 || err != nil {
		t.Errorf("before the folder is this process's the log has %q, %v", b, err)
	}
	log.begin()
	log.line(at, "what", "login", "user", "ada")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "2026-01-02T02:04:05.006Z what=\"upload_file\" object=\"a \\\"b\\\"\\\\u000a\\\\u001b[2J\"\n" +
		"2026-01-02T02:04:05.006Z what=\"login\" user=\"ada\"\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestWriteListReplacesNothingNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if err := writeList(path, []byte("a"), true); err != nil {
		t.Fatal(err)
	}
	if err := writeList(path, []byte("b"), true); !errors.Is(err, protocol.ErrTargetExists) {
		t.Errorf("got %v, want E_TARGET_EXISTS", err)
	}
	if err := writeList(path, []byte("c"), false); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); string(got) != "c" || err != nil {
		t.Errorf("content %q, %v", got, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}
