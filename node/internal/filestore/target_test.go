package filestore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestResolveTarget(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	base, err := os.Getwd() // as Abs sees it
	check(t, err)
	check(t, os.MkdirAll("a folder/inner", 0o700))
	writeFile(t, base, "taken", nil)
	writeFile(t, filepath.Join(base, "a folder"), "file.bin", nil)
	check(t, os.Symlink("nowhere", "dangling"))
	check(t, os.Symlink("a folder", "link"))
	tests := []struct {
		name           string
		dest, fallback string
		file           string
		wantDir, want  string
		code           protocol.Code
	}{
		{name: "default", fallback: "a folder", file: "new.bin", wantDir: "a folder", want: "new.bin"},
		{name: "current folder", file: "new.bin", wantDir: ".", want: "new.bin"},
		{name: "folder", dest: "a folder", fallback: "nowhere", file: "Ü b.bin", wantDir: "a folder", want: "Ü b.bin"},
		{name: "folder with slash", dest: "a folder/", file: "new.bin", wantDir: "a folder", want: "new.bin"},
		{name: "dot dot", dest: "a folder/inner/..", file: "new.bin", wantDir: "a folder", want: "new.bin"},
		{name: "link to a folder", dest: "link", file: "new.bin", wantDir: "link", want: "new.bin"},
		{name: "new name", dest: "other.bin", file: "new.bin", wantDir: ".", want: "other.bin"},
		{name: "new name in folder", dest: "a folder/other name", file: "new.bin", wantDir: "a folder", want: "other name"},
		{name: "absolute", dest: filepath.Join(base, "a folder", "x"), file: "new.bin", wantDir: "a folder", want: "x"},
		{name: "hidden by own wish", dest: ".x", file: "new.bin", wantDir: ".", want: ".x"},
		{name: "taken", dest: "taken", file: "new.bin", code: protocol.CodeTargetExists},
		{name: "taken in folder", dest: "a folder", file: "file.bin", code: protocol.CodeTargetExists},
		{name: "taken in default", fallback: "a folder", file: "file.bin", code: protocol.CodeTargetExists},
		{name: "taken by a link to nowhere", dest: "dangling", file: "new.bin", code: protocol.CodeTargetExists},
		{name: "taken by a folder", file: "link", code: protocol.CodeTargetExists},
		{name: "no such folder", dest: "nowhere/x", file: "new.bin", code: protocol.CodeNotFound},
		{name: "no such folder, slash", dest: "nowhere/", file: "new.bin", code: protocol.CodeNotFound},
		{name: "file as folder", dest: "taken/x", file: "new.bin", code: protocol.CodeNotFound},
		{name: "no default", fallback: "nowhere", file: "new.bin", code: protocol.CodeNotFound},
		{name: "default is a file", fallback: "taken", file: "new.bin", code: protocol.CodeNotFound},
		{name: "name of the network leads out", dest: "a folder", file: "../x", code: protocol.CodeName},
		{name: "name of the network hides", dest: "x", file: ".bashrc", code: protocol.CodeName},
		{name: "control character", dest: "a\nb", file: "new.bin", code: protocol.CodeName},
		{name: "like a partial file", dest: ".p2ps-1-2.part", file: "new.bin", code: protocol.CodeName},
		{name: "too long", dest: strings.Repeat("x", 256), file: "new.bin", code: protocol.CodeName},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := filestore.ResolveTarget(tt.dest, tt.fallback, tt.file, protocol.FileID{0xab, 1}, "client")
			wantCode(t, "ResolveTarget", err, tt.code)
			if tt.code != "" {
				return
			}
			if want := filepath.Join(base, tt.wantDir); got.Dir != want || got.Name != tt.want {
				t.Errorf("target = %+v, want %s in %s", got, tt.want, want)
			}
			if !strings.HasPrefix(got.Part, ".p2ps-ab01000000000000-") || !strings.HasSuffix(got.Part, ".part") {
				t.Errorf("partial file = %q", got.Part)
			}
		})
	}
}

func TestPartNames(t *testing.T) {
	dir := t.TempDir()
	name := func(id byte, client string) string {
		target, err := filestore.ResolveTarget(dir, "", "x", protocol.FileID{id}, client)
		check(t, err)
		return target.Part
	}
	one := name(1, "12D3KooWAlice")
	if again := name(1, "12D3KooWAlice"); again != one {
		t.Errorf("the same download has %q and %q", one, again)
	}
	if other := name(1, "12D3KooWBob"); other == one {
		t.Errorf("two clients have %q", one)
	}
	if other := name(2, "12D3KooWAlice"); other == one {
		t.Errorf("two files have %q", one)
	}
}
