package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// demoRun starts the demo over a file of 32 MiB, with a temporary folder of its own.
func demoRun(t *testing.T) (cmd *exec.Cmd, temp string, out, said *bytes.Buffer) {
	t.Helper()
	bin, err := exec.LookPath("p2pshare")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a file.bin")
	if err := os.WriteFile(file, bytes.Repeat([]byte("0123456789abcdef"), 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	temp, out, said = t.TempDir(), new(bytes.Buffer), new(bytes.Buffer)
	cmd = exec.CommandContext(t.Context(), bin, "demo", file)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "TMP="+temp)
	cmd.Stdout, cmd.Stderr = out, said
	return cmd, temp, out, said
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("%d things are left in the temporary folder, %v", len(left), err)
	}
}

func TestDemo(t *testing.T) {
	cmd, temp, out, said := demoRun(t)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	for _, want := range []string{
		`(?m)^ben  +32 MiB .* [0-9a-f]{40} \(as the original\)$`,
		`(?m)^cleo +32 MiB .* [0-9a-f]{40} \(as the original\)$`,
		`(?m)^tracker [12] \(process \d+\), to which ben was connected, was killed with -9 `,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("%s does not match\n%s%s", want, out, said)
		}
	}
	wantEmpty(t, temp)
}

func TestDemoInterrupted(t *testing.T) {
	cmd, temp, out, said := demoRun(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// As soon as it has a folder it has something to clear up.
	deadline := time.Now().Add(10 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		if left, err := os.ReadDir(temp); err == nil && len(left) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the demo makes no folder")
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("it ends with status %d, want 130\n%s%s", got, out, said)
	}
	wantEmpty(t, temp)
}
