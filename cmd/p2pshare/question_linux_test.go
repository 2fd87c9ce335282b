package main_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/p2pshare/p2pshare/protocol/roster"
)

// terminal is a pseudo-terminal: what a person sees and types, and the end that
// a process has.
type terminal struct {
	person, process *os.File

	mu   sync.Mutex
	seen bytes.Buffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals can be made here: %v", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	fd := int(person.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	process, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Close() })
	term := &terminal{person: person, process: process}
	go func() {
		b := make([]byte, 1<<10)
		for {
			n, err := person.Read(b)
			term.mu.Lock()
			term.seen.Write(b[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return term
}

// until waits for a text on the screen.
func (x *terminal) until(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		x.mu.Lock()
		seen := x.seen.String()
		x.mu.Unlock()
		if strings.Contains(seen, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the screen shows %q, want %q", seen, text)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// At the question whether to trust a tracker, Ctrl-C and SIGTERM end the client.
func TestQuestionCanBeLeft(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1)
	entries, err := roster.Read(n.Info)
	if err != nil {
		t.Fatal(err)
	}
	bare := filepath.Join(n.Dir, "bare.txt")
	if err := os.WriteFile(bare, []byte(entries[0].Addr.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		leave func(*terminal, *os.Process) error
	}{
		{"Ctrl-C", func(x *terminal, _ *os.Process) error { _, err := x.person.WriteString("\x03"); return err }},
		{"SIGTERM", func(_ *terminal, p *os.Process) error { return p.Signal(syscall.SIGTERM) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newTerminal(t)
			cmd := exec.CommandContext(n.ctx, "p2pshare", "client", "--data", filepath.Join(t.TempDir(), "data"), bare)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = x.process, x.process, x.process
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			x.until(t, "Trust it from now on? [y/N]")
			if err := tt.leave(x, cmd.Process); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
				if code := cmd.ProcessState.ExitCode(); code != 130 {
					t.Errorf("it ended with %d, want 130", code)
				}
			case <-time.After(30 * time.Second):
				_ = cmd.Process.Kill()
				<-ended
				t.Fatal("it goes on waiting for an answer")
			}
		})
	}
}
