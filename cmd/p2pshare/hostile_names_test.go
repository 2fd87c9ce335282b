package main_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/rogue"
	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/protocol"
)

// A tracker that gives everything a name of a list of evil ones makes a client
// write nothing outside of its folder and print nothing that a terminal would
// obey: neither on its outputs nor in its log.
func TestEvilNamesFromALyingTracker(t *testing.T) {
	for _, flag := range []string{"--json", "--stay=false"} { // as JSON, and in lines
		t.Run(flag, func(t *testing.T) {
			v := newVictim(t)
			v.run(flag, v.script())
			v.wantClean()
		})
	}
}

// victim is a client process and the tracker that lies to it.
type victim struct {
	*world.World
	t    *testing.T
	liar *rogue.Liar
	fine []string // names of files that can be fetched, shown under evil names

	mu     sync.Mutex
	stderr []string
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	bin, err := exec.LookPath("p2pshare")
	if err != nil {
		t.Fatal(err)
	}
	// Deep down, so that what climbs out is found.
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, liar: &rogue.Liar{Peer: rogue.New(t), Network: protocol.NewNetworkID(), Files: map[string][]byte{}}}
	v.liar.Names = append(rogue.EvilNames(), filepath.Join(dir, "..", "absolute"))
	data := []byte("what is in the file")
	seeder := rogue.New(t)
	v.liar.Seeder = seeder.Info()
	for _, name := range v.liar.Names {
		v.liar.Files[name] = rogue.ManifestOf(name, data).Encode()
	}
	for i := range 5 {
		name := fmt.Sprint("fine-", i)
		v.fine = append(v.fine, name)
		v.liar.Files[name] = rogue.ManifestOf(name, data).Encode()
	}
	v.liar.Shown = func(name string) string {
		if i := len(name) - 1; strings.HasPrefix(name, "fine-") {
			return []string{"../evil", "\x1b[2Jevil\u009b", "/absolute", "evil\u202e.exe", "NUL"}[name[i]-'0']
		}
		return name
	}
	seeder.Seed(rogue.ManifestOf("fine-0", data), data, rogue.Honest())
	v.liar.Serve()
	info := filepath.Join(dir, "tracker_info.txt")
	line := v.liar.Info().Addrs[0].String() + "/p2p/" + v.liar.Info().ID.String() + "\n"
	if err := os.WriteFile(info, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	v.World = world.Open(bin, info)
	v.OnStderr = func(_, line string) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.stderr = append(v.stderr, line)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// script is every command that shows or writes what others have named.
func (v *victim) script() (commands []string) {
	own := filepath.Join(v.Dir, "own.txt")
	if err := os.WriteFile(own, []byte("of this user"), 0o600); err != nil {
		v.t.Fatal(err)
	}
	commands = append(commands, "login ann 'some password'", "whoami", "list_groups", "list_members 0", "list_requests 0", "list_files 0", "trackers")
	for i := range v.liar.Names {
		commands = append(commands, fmt.Sprint("join_group ", i), fmt.Sprint("download_file 0 ", i))
	}
	for _, name := range v.fine {
		commands = append(commands, "download_file 0 "+name)
	}
	return append(commands, "upload_file 0 "+own, "list_shares", "show_downloads -v", "logout")
}

// run runs the commands and checks each line that comes.
func (v *victim) run(flag string, commands []string) {
	v.t.Helper()
	p, err := v.Plain(v.t.Context(), "bob", flag)
	if err != nil {
		v.t.Fatal(err)
	}
	go func() {
		for _, c := range commands {
			if p.Write(c) != nil {
				return
			}
		}
		_ = p.CloseInput()
	}()
	lines := 0
	for {
		line, err := p.Line(v.t.Context())
		if err != nil {
			break // it ended
		}
		lines++
		v.printable("standard output", line)
	}
	_ = p.Wait(v.t.Context()) // its status is that of the first refusal
	if lines < len(v.liar.Names) {
		v.t.Errorf("%d lines of output, want at least those of %d groups", lines, len(v.liar.Names))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, line := range v.stderr {
		v.printable("standard error", line)
	}
	if len(v.stderr) < len(v.liar.Names) {
		v.t.Errorf("%d errors, want one for each of %d names", len(v.stderr), len(v.liar.Names))
	}
}

// printable is what a line may be; the commands' own answers separate columns by tabs.
func (v *victim) printable(where, line string) {
	v.t.Helper()
	if text := strings.ReplaceAll(line, "\t", " "); protocol.Printable(text) != text {
		v.t.Errorf("%s: %q", where, line)
	}
}

// wantClean looks at all files in reach.
func (v *victim) wantClean() {
	v.t.Helper()
	got := map[string]bool{}
	top := filepath.Join(v.Dir, "..", "..", "..")
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(v.Dir, path)
		if !strings.HasPrefix(rel, "bob"+string(filepath.Separator)) {
			got[rel] = true
		}
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	want := []string{"tracker_info.txt", "own.txt"}
	for _, name := range v.fine {
		want = append(want, filepath.Join("bob-files", name))
	}
	for _, name := range want {
		if !got[name] {
			v.t.Errorf("%s is missing", name)
		}
		delete(got, name)
	}
	for name := range got {
		v.t.Errorf("the client has written %q", name)
	}
	for _, path := range []string{"/tmp/evil", "/evil"} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			v.t.Errorf("%s is there: %v", path, err)
		}
	}
	log, err := os.ReadFile(filepath.Join(v.Dir, "bob", "client.log"))
	if err != nil {
		v.t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		v.printable("the log", strings.TrimSuffix(line, "\n"))
	}
}
