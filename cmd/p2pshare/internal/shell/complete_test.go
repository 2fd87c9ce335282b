package shell_test

import (
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/shell"
	"github.com/p2pshare/p2pshare/node"
)

// Groups and files are completed as commands are, each command with what it is
// about.
func TestCompletesNames(t *testing.T) {
	s := begin(t, t.Context())
	s.client.groups = []node.Group{{Name: "compilers", Role: "member"}, {Name: "other"}}
	s.client.files = []node.File{{Name: "lecture 07.mp4"}, {Name: "notes.txt"}}
	s.client.shares = []node.ShareInfo{{Group: "compilers", Name: "mine.bin"}, {Group: "old", Name: "m.bin"}}
	s.client.next = finished("compilers", "lecture 07.mp4")
	s.client.downloads = []shell.Download{
		newDownload(node.Progress{Group: "compilers", Name: "big.bin", State: node.Downloading}),
		finished("compilers", "small.bin"),
	}
	s.screen.await(t, "p2pshare> ", 1)
	s.typeKeys(t, "downl\tCOMP\tlec\t\r")
	s.screen.await(t, "downloaded lecture 07.mp4", 1)
	s.typeKeys(t, "stop_share co\tm\t\r")
	s.screen.await(t, "stopped sharing mine.bin in compilers", 1)
	s.typeKeys(t, "pause_download \t\t\r")
	s.screen.await(t, "paused big.bin", 1)
	s.typeKeys(t, "join_group o\t\r")
	s.typeKeys(t, "quit\r")
	s.end(t)
	for _, call := range []string{`Download COMPilers lecture 07.mp4 ""`, "Unshare compilers mine.bin", "JoinGroup other"} {
		if !strings.Contains(s.client.said(), call) {
			t.Errorf("calls %q, want %q among them", s.client.said(), call)
		}
	}
}
