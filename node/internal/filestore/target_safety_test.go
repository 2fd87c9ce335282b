package filestore_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestOpenPartialRefusesTargets(t *testing.T) {
	_, m := fileOf(5)
	dir := t.TempDir()
	good := target(t, dir, "a", m)
	tests := []struct {
		name   string
		target filestore.Target
		want   protocol.Code
	}{
		{"name leads out", filestore.Target{Dir: dir, Name: "../a", Part: good.Part}, protocol.CodeName},
		{"name is a folder", filestore.Target{Dir: dir, Name: "..", Part: good.Part}, protocol.CodeName},
		{"no name", filestore.Target{Dir: dir, Part: good.Part}, protocol.CodeName},
		{"part leads out", filestore.Target{Dir: dir, Name: "a", Part: "../" + good.Part}, protocol.CodeState},
		{"part is any file", filestore.Target{Dir: dir, Name: "a", Part: "b"}, protocol.CodeState},
		{"no folder", filestore.Target{Dir: filepath.Join(dir, "x"), Name: "a", Part: good.Part}, protocol.CodeNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := filestore.OpenPartial(t.Context(), tt.target, m, &journal{})
			wantCode(t, "OpenPartial", err, tt.want)
		})
	}
	if left := partials(t, dir); len(left) > 0 {
		t.Errorf("there is %q", left)
	}
}

func TestLinkInPlaceOfPart(t *testing.T) {
	content, m := fileOf(5)
	precious := bytes.Repeat([]byte("p"), len(content)) // of the right size
	tests := []struct {
		name string
		make func(victim, part string) error
		want protocol.Code
	}{
		{"symbolic link", os.Symlink, protocol.CodeState},
		{"symbolic link within the folder", func(victim, part string) error {
			inside := filepath.Join(filepath.Dir(part), "inside")
			if err := os.Link(victim, inside); err != nil {
				return err
			}
			return os.Symlink("inside", part)
		}, protocol.CodeState},
		{"symbolic link to nowhere", func(_, part string) error { return os.Symlink("nowhere", part) }, protocol.CodeState},
		{"folder", func(_, part string) error { return os.Mkdir(part, 0o700) }, protocol.CodeState},
		{"hard link", os.Link, ""}, // only our name of it goes
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			victim := writeFile(t, t.TempDir(), "precious", precious)
			to := target(t, t.TempDir(), "a", m)
			check(t, tt.make(victim, filepath.Join(to.Dir, to.Part)))
			p, err := filestore.OpenPartial(t.Context(), to, m, &journal{saves: [][]byte{{0xf8}}})
			wantCode(t, "OpenPartial", err, tt.want)
			if err == nil {
				if _, bits := p.Have(); bits[0] != 0 {
					t.Errorf("Have = %x, want nothing", bits)
				}
				complete(t, p, to, content)
			}
			if got, err := os.ReadFile(victim); err != nil || !bytes.Equal(got, precious) {
				t.Errorf("the file behind the link was touched: %v", err)
			}
		})
	}
}

func TestExistingTargetIsNeverReplaced(t *testing.T) {
	content, m := fileOf(5)
	tests := []struct {
		name string
		make func(path string) error
	}{
		{"other content", func(path string) error { return os.WriteFile(path, []byte("mine"), 0o600) }},
		{"empty file", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		{"same size", func(path string) error { return os.WriteFile(path, random(len(content), 2), 0o600) }},
		{"folder", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"link to nowhere", func(path string) error { return os.Symlink("nowhere", path) }},
	}
	for _, tt := range tests {
		for _, links := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				to := target(t, t.TempDir(), "a", m)
				j := &journal{}
				faults := &filestore.Faults{}
				if !links {
					faults.Link = func() error { return os.ErrPermission }
				}
				p := openFaulty(t, to, m, j, faults)
				writeMissing(t, p, content)
				check(t, tt.make(to.Path()))
				before, err := os.Lstat(to.Path())
				check(t, err)
				_, _, bad, err := p.Finish(t.Context())
				wantCode(t, "Finish", err, protocol.CodeTargetExists)
				if len(bad) > 0 {
					t.Errorf("bad = %v", bad)
				}
				check(t, p.Close())
				_, err = filestore.OpenPartial(t.Context(), to, m, j)
				wantCode(t, "OpenPartial", err, protocol.CodeTargetExists)
				if after, err := os.Lstat(to.Path()); err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
					t.Fatalf("the target was replaced: %v, %v", after, err)
				}
				// Nothing is lost: when the name is free the download completes.
				check(t, os.Remove(to.Path()))
				p = openFaulty(t, to, m, j, faults)
				if complete, _ := p.Have(); !complete {
					t.Error("pieces were lost")
				}
				finish(t, p, to, content)
				check(t, p.Close())
			})
		}
	}
}

// The last steps of a finish, each left undone by a crash.
func TestCrashWhileFinishing(t *testing.T) {
	tests := []struct {
		name string
		size int
		do   func(to filestore.Target, part string) error
	}{
		{"after the link", 5 * 1024, func(to filestore.Target, part string) error { return os.Link(part, to.Path()) }},
		{"after the link of an empty file", 0, func(to filestore.Target, part string) error { return os.Link(part, to.Path()) }},
		{"after the removal", 5 * 1024, func(to filestore.Target, part string) error { return os.Rename(part, to.Path()) }},
		{"after the removal of an empty file", 0, func(to filestore.Target, part string) error { return os.Rename(part, to.Path()) }},
		{"after the claim", 5 * 1024, func(to filestore.Target, _ string) error {
			return os.WriteFile(to.Path(), []byte(filestore.ClaimText(to)), 0o600)
		}},
		{"while the mode was looked at", 5 * 1024, func(to filestore.Target, part string) error {
			return os.WriteFile(part+".mode", nil, 0o600)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			content := random(tt.size, 1)
			m := describe("a", content, 1024)
			to := target(t, t.TempDir(), "a", m)
			j := &journal{}
			p := openPartial(t, to, m, j)
			writeMissing(t, p, content)
			if _, _, _, err := p.Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, p.Close())
			// Back to where the crash was.
			part := filepath.Join(to.Dir, to.Part)
			check(t, os.Rename(to.Path(), part))
			check(t, tt.do(to, part))
			p = openPartial(t, to, m, j)
			check(t, haveIsTrue(p, content))
			if complete, _ := p.Have(); !complete {
				t.Error("pieces were lost")
			}
			finish(t, p, to, content)
			check(t, p.Close())
		})
	}
}

// A file under the target's name that is not what was downloaded is somebody
// else's, also where an earlier run got as far as to place its own there.
func TestTargetAlteredAfterCrash(t *testing.T) {
	content, m := fileOf(5)
	to := target(t, t.TempDir(), "a", m)
	altered := bytes.Clone(content)
	altered[2000] ^= 1
	writeFile(t, to.Dir, to.Name, altered)
	for _, saved := range [][][]byte{{{0xf8}}, {{0xf0}}, nil} {
		_, err := filestore.OpenPartial(t.Context(), to, m, &journal{saves: saved})
		wantCode(t, "OpenPartial", err, protocol.CodeTargetExists)
	}
	// The right content of a download that had not got so far is the user's too.
	writeFile(t, to.Dir, to.Name, content)
	for _, saved := range [][][]byte{{{0xf0}}, nil} {
		_, err := filestore.OpenPartial(t.Context(), to, m, &journal{saves: saved})
		wantCode(t, "OpenPartial", err, protocol.CodeTargetExists)
	}
	if got, err := os.ReadFile(to.Path()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the target was touched: %v", err)
	}
}

func TestPartTakenAway(t *testing.T) {
	content, m := fileOf(5)
	to := target(t, t.TempDir(), "a", m)
	j := &journal{}
	p := openPartial(t, to, m, j)
	writeMissing(t, p, content)
	part := filepath.Join(to.Dir, to.Part)
	check(t, os.Remove(part))
	check(t, os.WriteFile(part, []byte("another"), 0o600))
	_, _, _, err := p.Finish(t.Context())
	wantCode(t, "Finish", err, protocol.CodeState)
	check(t, p.Remove())
	if got, err := os.ReadFile(part); err != nil || string(got) != "another" {
		t.Errorf("Remove took another's file: %q, %v", got, err)
	}
}

// A disk that is away leaves the folder that it was mounted on: nothing is begun
// there, and nothing forgotten. What the user has removed is begun anew.
func TestFolderOfAMissingDisk(t *testing.T) {
	content, m := fileOf(5)
	dir := filepath.Join(t.TempDir(), "disk")
	check(t, os.Mkdir(dir, 0o700))
	to, j := target(t, dir, "a", m), &journal{}
	p := openPartial(t, to, m, j)
	write(t, p, content, 0, 1)
	check(t, p.Close())

	check(t, os.Rename(dir, dir+" away"))
	check(t, os.Mkdir(dir, 0o700))
	saves := j.count()
	_, err := filestore.OpenPartial(t.Context(), to, m, j)
	wantCode(t, "OpenPartial without the disk", err, protocol.CodeState)
	if left := partials(t, dir); len(left) > 0 || j.count() != saves {
		t.Errorf("there is now %q, and the journal was saved %d times", left, j.count()-saves)
	}

	check(t, os.Remove(dir))
	check(t, os.Rename(dir+" away", dir))
	p = openPartial(t, to, m, j)
	if _, bits := p.Have(); bits[0] != 0xc0 {
		t.Errorf("have %x after the disk came back, want pieces 0 and 1", bits)
	}
	check(t, p.Close())
	check(t, os.Remove(filepath.Join(dir, to.Part)))
	p = openPartial(t, to, m, j)
	complete(t, p, to, content)
}
