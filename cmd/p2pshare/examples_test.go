package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// example builds one of the example programs.
func example(t *testing.T, name string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), name)
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../examples/"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// output is what a process has written so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// background runs a program in dir until the test ends; an interrupt must end it with 0.
func background(t *testing.T, dir, bin string, args ...string) *output {
	t.Helper()
	out := new(output)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), bin, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(bin), err, out)
		}
	})
	return out
}

// TestQuickstart runs the library's first example, as a person would, against a
// tracker and a member who shares the file.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../examples/quickstart/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(source, []byte("\n")); lines >= 40 {
		t.Errorf("it has %d lines, fewer than 40 are promised", lines)
	}
	if readme, err := os.ReadFile("../../README.md"); err != nil || !bytes.Contains(readme, source[bytes.Index(source, []byte("func run(")):]) {
		t.Errorf("the README shows another one (%v)", err)
	}
	bin := example(t, "quickstart")
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob")
	path, sum := n.file("data.bin", 3<<20, 11)
	n.do(c[0], "upload_file lab "+path)

	home := t.TempDir()
	run := func(password, file string) (string, error) {
		cmd := exec.CommandContext(n.ctx, bin, n.Info, "bob", "lab", file)
		cmd.Dir, cmd.Stdin = home, strings.NewReader(password+"\n")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("a wrong one", "data.bin"); err == nil || !strings.Contains(out, "wrong user name or password") {
		t.Errorf("with a wrong password: %v, %s", err, out)
	}
	out, err := run(password, "data.bin")
	if err != nil || !strings.Contains(out, "\r3145728 of 3145728 bytes from ") {
		t.Fatalf("%v\n%s", err, out)
	}
	n.wantSHA1(filepath.Join(home, "data.bin"), sum)
	if out, err := run(password, "absent.bin"); err == nil || !strings.Contains(out, "absent.bin") {
		t.Errorf("a file that is not there: %v, %s", err, out)
	}
}

// TestLongOtherExamples has the network's one tracker inside another program, and a
// mirror that keeps a copy of what is there and of what comes.
func TestLongOtherExamples(t *testing.T) {
	long(t)
	trackerBin, mirrorBin := example(t, "tracker"), example(t, "mirror")
	n := listedNetwork(t, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	said := background(t, n.Dir, trackerBin, n.Info, "1", web)
	type figures struct {
		Serving      bool
		Users, Files int
	}
	status := func() (f figures) {
		req, err := http.NewRequestWithContext(n.ctx, http.MethodGet, "http://"+web+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			defer resp.Body.Close()
			_ = json.NewDecoder(resp.Body).Decode(&f)
		}
		return f
	}
	n.eventually("the tracker serves, and says so over HTTP", func() bool { return status().Serving })
	c := n.users("lab", "ada", "bob")
	first, firstSum := n.file("first.bin", 1<<20, 12)
	n.do(c[0], "upload_file lab "+first)
	if s := status(); s.Users != 2 || s.Files != 1 {
		t.Errorf("its figures: %+v", s)
	}
	if !strings.Contains(said.String(), "upload_file ada lab first.bin ok") {
		t.Errorf("it does not tell of the upload:\n%s", said)
	}

	secret := filepath.Join(n.Dir, "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(n.Dir, "mirror")
	if out, err := exec.CommandContext(n.ctx, mirrorBin, n.Info, "bob", secret, "lab", folder).CombinedOutput(); err == nil || !strings.Contains(string(out), folder+" is no folder") {
		t.Errorf("a mirror without its folder: %v, %s", err, out)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	mirrored := background(t, n.Dir, mirrorBin, n.Info, "bob", secret, "lab", folder)
	kept := func(name, sum string) {
		t.Helper()
		want := fmt.Sprintf("%s %s\n", sum, filepath.Join(folder, name))
		n.eventually(name+" is mirrored", func() bool { return strings.Contains(mirrored.String(), want) })
		n.wantSHA1(filepath.Join(folder, name), sum)
	}
	kept("first.bin", firstSum)
	second, secondSum := n.file("second.bin", 700_000, 13)
	n.do(c[0], "upload_file lab "+second)
	kept("second.bin", secondSum)
}
