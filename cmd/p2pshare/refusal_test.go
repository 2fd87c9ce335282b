package main_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
)

// once runs client commands in a process of their own and returns its answers
// and exit status.
func (n *network) once(user string, commands ...string) (answers []string, status int) {
	n.t.Helper()
	bin, err := exec.LookPath("p2pshare")
	if err != nil {
		n.t.Fatal(err)
	}
	args := []string{"client", "--json", "--data", filepath.Join(n.Dir, user), "--downloads", filepath.Join(n.Dir, user+"-files")}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	cmd := exec.CommandContext(n.ctx, bin, append(args, "127.0.0.1:0", n.Info)...)
	cmd.Dir = n.Dir
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	} else if err != nil {
		n.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), status
}

// state is all that a refused command could have changed: what the owner of the
// group sees, and the files below the folder that hold no logs or caches.
func (n *network) state(owner *world.Client) string {
	n.t.Helper()
	var b strings.Builder
	for _, command := range []string{"list_groups", "list_members lab", "list_requests lab", "list_files lab", "list_shares", "show_downloads", "whoami"} {
		if err := owner.Write(command); err != nil {
			n.t.Fatal(err)
		}
		line, err := owner.Line(n.ctx)
		if err != nil {
			n.t.Fatal(err)
		}
		b.WriteString(line + "\n")
	}
	err := filepath.WalkDir(n.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasSuffix(path, ".bin") || strings.Contains(path, "-files") {
			info, err := d.Info()
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s %d %v\n", path, info.Size(), info.ModTime())
		}
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return b.String()
}

// TestBadInput gives bad input to the program: each has its code and exit
// status, and nothing has changed behind it.
func TestBadInput(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1)
	n.file("a.bin", 600_000, 9)
	n.file("nul.txt", 1, 9)
	n.file("bad\x01name", 1, 9)
	n.file("taken.bin", 10, 10)
	if err := os.Mkdir(filepath.Join(n.Dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(n.ctx, "mkfifo", filepath.Join(n.Dir, "fifo")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ada := n.users("lab", "ada")[0]
	n.do(ada, "upload_file lab a.bin")
	for _, user := range []string{"bob", "eve"} {
		if answers, status := n.once(user, "create_user "+user+" 'secret of "+user+"'", "login "+user+" 'secret of "+user+"'", "join_group lab"); status != 0 {
			t.Fatal(answers)
		}
	}
	n.do(ada, "accept_request lab bob")

	tests := []struct {
		user, command, code string
		status              int
	}{
		{"eve", "frobnicate", "E_USAGE", 2},
		{"eve", "create_group", "E_USAGE", 2},
		{"eve", "create_group one two", "E_USAGE", 2},
		{"eve", "download_file lab", "E_USAGE", 2},
		{"eve", "download_file --timeout soon lab a.bin", "E_USAGE", 2},
		{"eve", "wait lab", "E_USAGE", 2},
		{"eve", "create_group 'left open", "E_USAGE", 2},
		{"eve", "create_group behind &", "E_USAGE", 2},
		{"zoe", "login ada 'wrong word'", "E_AUTH", 10},
		{"zoe", "login nobody 'wrong word'", "E_AUTH", 10},
		{"eve", "change_password 'wrong word' 'another word'", "E_AUTH", 10},
		{"zoe", "create_user ada 'secret of zoe'", "E_EXISTS", 32},
		{"zoe", "create_user ADA 'secret of zoe'", "E_EXISTS", 32},
		{"zoe", "create_user zoe short", "E_PASSWORD", 35},
		{"eve", "change_password 'secret of eve' short", "E_PASSWORD", 35},
		{"zoe", "create_user 'z/e' 'secret of zoe'", "E_NAME", 33},
		{"zoe", "create_user .. 'secret of zoe'", "E_NAME", 33},
		{"zoe", "create_user zo\x01e 'secret of zoe'", "E_NAME", 33},
		{"eve", "create_group LAB", "E_EXISTS", 32},
		{"eve", "create_group a/b", "E_NAME", 33},
		{"eve", "create_group ..", "E_NAME", 33},
		{"eve", "create_group a\x1b[2Jb", "E_NAME", 33},
		{"eve", "join_group nowhere", "E_NOT_FOUND", 31},
		{"eve", "list_members lab", "E_NOT_MEMBER", 30},
		{"eve", "list_files lab", "E_NOT_MEMBER", 30},
		{"eve", "upload_file lab taken.bin", "E_NOT_MEMBER", 30},
		{"eve", "download_file lab a.bin", "E_NOT_MEMBER", 30},
		{"eve", "list_requests lab", "E_FORBIDDEN", 14},
		{"bob", "list_requests lab", "E_FORBIDDEN", 14},
		{"bob", "accept_request lab eve", "E_FORBIDDEN", 14},
		{"bob", "reject_request lab eve", "E_FORBIDDEN", 14},
		{"bob", "remove_member lab ada", "E_FORBIDDEN", 14},
		{"bob", "transfer_group lab bob", "E_FORBIDDEN", 14},
		{"bob", "upload_file lab absent.bin", "E_NOT_FOUND", 31},
		{"bob", "upload_file lab folder", "E_NOT_REGULAR", 56},
		{"bob", "upload_file lab fifo", "E_NOT_REGULAR", 56},
		{"bob", "upload_file lab /dev/null", "E_NOT_REGULAR", 56},
		{"bob", "upload_file lab nul.txt", "E_NAME", 33},
		{"bob", "upload_file lab bad\x01name", "E_NAME", 33},
		{"bob", "download_file lab absent.bin", "E_NOT_FOUND", 31},
		{"bob", "download_file lab a.bin taken.bin", "E_TARGET_EXISTS", 51},
		{"bob", "download_file lab a.bin absent/folder/a.bin", "E_NOT_FOUND", 31},
		{"bob", "stop_share lab a.bin", "E_NOT_FOUND", 31},
		{"bob", "wait lab a.bin", "E_NOT_FOUND", 31},
	}
	before := n.state(ada)
	for _, tt := range tests {
		t.Run(tt.user+" "+strings.ReplaceAll(tt.command, "/", "|"), func(t *testing.T) {
			answers, status := n.once(tt.user, tt.command, "list_shares", "show_downloads")
			if !strings.Contains(answers[0], `"ok":false,"error":{"code":"`+tt.code+`","message":"`) || status != tt.status {
				t.Errorf("answers %s with status %d, want %s with %d", answers[0], status, tt.code, tt.status)
			}
			if tt.user != "zoe" && (!strings.HasSuffix(answers[1], `{"shares":[]}}`) || !strings.HasSuffix(answers[2], `{"downloads":[]}}`)) {
				t.Errorf("behind it %s has %v", tt.user, answers[1:])
			}
			if after := n.state(ada); after != before {
				t.Errorf("it changed\n%s\nto\n%s", before, after)
			}
		})
	}
}

// TestNotLoggedIn runs every command that needs an account.
func TestNotLoggedIn(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1)
	n.file("a.bin", 1, 1)
	commands := []string{
		"whoami", "logout", "change_password 'secret word' 'another word'", "create_group lab", "list_groups", "join_group lab", "list_requests lab",
		"accept_request lab bob", "reject_request lab bob", "list_members lab", "remove_member lab bob", "transfer_group lab bob", "leave_group lab",
		"upload_file lab a.bin", "list_files lab", "download_file lab a.bin", "show_downloads", "wait", "list_shares", "stop_share lab a.bin",
	}
	answers, status := n.once("nobody", commands...)
	if len(answers) != len(commands) || status != 13 {
		t.Fatalf("%d answers, status %d: %v", len(answers), status, answers)
	}
	for i, a := range answers {
		if !strings.Contains(a, `"error":{"code":"E_SESSION"`) {
			t.Errorf("%s: %s", commands[i], a)
		}
	}
}
