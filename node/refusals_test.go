package node_test

import (
	"path/filepath"
	"testing"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestBadRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, eve := w.user("ada"), w.user("eve")
	w.group("g", ada)
	ada.share("g", w.file("f", 1000))
	nobody := w.node("nobody")
	file := w.file("other", 10)
	tests := []struct {
		name string
		do   func() error
		want protocol.Code
	}{
		{"not logged in", func() error { _, err := nobody.Groups(t.Context()); return err }, protocol.CodeSession},
		{"not logged in, local", func() error { _, err := nobody.Shares(); return err }, protocol.CodeSession},
		{"log out without login", func() error { _, err := nobody.Logout(t.Context()); return err }, protocol.CodeSession},
		{"wrong password", func() error { _, err := nobody.Login(t.Context(), "ada", "not the password"); return err }, protocol.CodeAuth},
		{"unknown user", func() error { _, err := nobody.Login(t.Context(), "zoe", "not the password"); return err }, protocol.CodeAuth},
		{"taken user name", func() error { _, err := nobody.CreateUser(t.Context(), "ADA", "password of x"); return err }, protocol.CodeExists},
		{"bad user name", func() error { _, err := nobody.CreateUser(t.Context(), "a b", "password of x"); return err }, protocol.CodeName},
		{"short password", func() error { _, err := nobody.CreateUser(t.Context(), "new", "short"); return err }, protocol.CodePassword},
		{"taken group name", func() error { _, err := eve.CreateGroup(t.Context(), "G"); return err }, protocol.CodeExists},
		{"bad group name", func() error { _, err := eve.CreateGroup(t.Context(), "../g"); return err }, protocol.CodeName},
		{"list as a stranger", func() error { _, err := eve.Files(t.Context(), "g"); return err }, protocol.CodeNotMember},
		{"share as a stranger", func() error { _, _, err := eve.Share(t.Context(), "g", file, nil); return err }, protocol.CodeNotMember},
		{"fetch as a stranger", func() error { _, err := eve.Download(t.Context(), "g", "f", ""); return err }, protocol.CodeNotMember},
		{"requests as a stranger", func() error { _, err := eve.Requests(t.Context(), "g"); return err }, protocol.CodeForbidden},
		{"no such group", func() error { _, err := ada.Members(t.Context(), "none"); return err }, protocol.CodeNotFound},
		{"no such file", func() error { _, err := ada.Download(t.Context(), "g", "none", ""); return err }, protocol.CodeNotFound},
		{"share what is not there", func() error { _, _, err := ada.Share(t.Context(), "g", file+"x", nil); return err }, protocol.CodeNotFound},
		{"share a folder", func() error { _, _, err := ada.Share(t.Context(), "g", w.dir, nil); return err }, protocol.CodeNotRegular},
		{"stop what is not shared", func() error { _, err := ada.Unshare(t.Context(), "g", "none"); return err }, protocol.CodeNotFound},
		{"the folder is used", func() error {
			_, err := node.New(node.WithDataDir(filepath.Join(w.dir, "data-ada")), node.WithTrackerEntries(w.entries...))
			return err
		}, protocol.CodeLocked},
		{"no folder", func() error { _, err := node.New(node.WithTrackerEntries(w.entries...)); return err }, protocol.CodeConfig},
		{"no tracker", func() error { _, err := node.New(node.WithDataDir(t.TempDir())); return err }, protocol.CodeConfig},
		{"upload limit too low", func() error {
			_, err := node.New(node.WithDataDir(t.TempDir()), node.WithTrackerEntries(w.entries...), node.WithUploadLimit(1000))
			return err
		}, protocol.CodeConfig},
		{"download limit below zero", func() error {
			_, err := node.New(node.WithDataDir(t.TempDir()), node.WithTrackerEntries(w.entries...), node.WithDownloadLimit(-1))
			return err
		}, protocol.CodeConfig},
		{"too little memory", func() error {
			_, err := node.New(node.WithDataDir(t.TempDir()), node.WithTrackerEntries(w.entries...), node.WithMemory(node.MinMemory-1))
			return err
		}, protocol.CodeConfig},
		{"bad address", func() error {
			_, err := node.New(node.WithDataDir(t.TempDir()), node.WithTrackerEntries(w.entries...), node.WithListen("here"))
			return err
		}, protocol.CodeConfig},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := protocol.CodeOf(test.do()); got != test.want {
				t.Errorf("got %q (%v), want %q", got, test.do(), test.want)
			}
		})
	}
}
