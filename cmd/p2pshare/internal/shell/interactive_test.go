package shell_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/progress"
	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/shell"
	"github.com/p2pshare/p2pshare/node"
)

// screen is what a terminal would show, and lets a test wait for text.
type screen struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newScreen() *screen { return &screen{changed: make(chan struct{}, 1)} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	s.text.Write(b)
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until the text stands n times on the screen.
func (s *screen) await(t *testing.T, text string, n int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for strings.Count(s.String(), text) < n {
		select {
		case <-s.changed:
		case <-deadline:
			t.Fatalf("%q does not stand %d times on the screen:\n%q", text, n, s)
		}
	}
}

// session is a shell on a terminal that a test types at.
type session struct {
	client     *fakeClient
	screen     *screen
	history    string
	interrupts chan os.Signal
	typing     *io.PipeWriter
	ended      chan error
}

func begin(t *testing.T, ctx context.Context) *session {
	t.Helper()
	keys, typing := io.Pipe()
	s := &session{
		client:  &fakeClient{user: "ada", events: make(chan node.Event), stored: node.Stored{On: 1, Trackers: 1}},
		screen:  newScreen(),
		history: filepath.Join(t.TempDir(), "history"), interrupts: make(chan os.Signal, 1), typing: typing, ended: make(chan error, 1),
	}
	sh := shell.New(shell.Options{Client: s.client, Out: s.screen, Err: s.screen, Progress: progress.NewLines(s.screen, time.Now)})
	same := func() error { return nil }
	go func() {
		s.ended <- sh.Interact(ctx, shell.Terminal{
			In: keys, Out: s.screen, History: s.history, Interrupts: s.interrupts, Raw: same, Cooked: same,
			Size: func() (int, int) { return 80, 24 },
		})
	}()
	t.Cleanup(func() { _ = typing.Close() })
	return s
}

func (s *session) typeKeys(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(s.typing, keys); err != nil {
		t.Fatal(err)
	}
}

func (s *session) end(t *testing.T) {
	t.Helper()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("Interact: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the shell does not end")
	}
}

func TestInteract(t *testing.T) {
	s := begin(t, t.Context())
	s.screen.await(t, "p2pshare> ", 1)
	s.typeKeys(t, "who\t\r")
	s.screen.await(t, "ada\n", 1)
	s.typeKeys(t, "login ada on-the-line\r")
	s.screen.await(t, "logged in as ada\n", 1)
	s.typeKeys(t, "logn ada mistyped\r")
	s.screen.await(t, "unknown command", 1)
	s.typeKeys(t, "create_user bob\r")
	s.screen.await(t, "password for bob: ", 1)
	s.typeKeys(t, "hidden-8\r")
	s.screen.await(t, "password for bob, again: ", 1)
	s.typeKeys(t, "hidden-8\r")
	s.screen.await(t, "user bob created\n", 1)
	s.typeKeys(t, "quit\r")
	s.end(t)

	if strings.Contains(s.screen.String(), "hidden-8") {
		t.Error("a password that was asked for stands on the screen")
	}
	kept, err := os.ReadFile(s.history)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Fields(string(kept)), strings.Fields("whoami create_user bob quit"); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("history %q, want %q", got, want)
	}
	info, err := os.Stat(s.history)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the history %v", info.Mode())
	}
	if got, want := s.client.said(), "Login ada on-the-line; CreateUser bob hidden-8"; got != want {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func TestNoticesKeepThePrompt(t *testing.T) {
	s := begin(t, t.Context())
	s.screen.await(t, "p2pshare> ", 1)
	s.typeKeys(t, "whoa")
	s.screen.await(t, "a", 1)
	s.client.events <- node.Event{Kind: "join_request", Text: "bob asks to join docs\x1b[2J"}
	s.screen.await(t, "* bob asks to join docs\\u001b[2J\n", 1)
	s.typeKeys(t, "mi\r")
	s.screen.await(t, "ada\n", 1)

	// What a command tells is no notice as well; what goes on behind it is.
	s.client.next = finished("docs", "a.bin")
	s.typeKeys(t, "download_file docs a.bin\r")
	s.screen.await(t, "downloaded a.bin", 1)
	s.client.events <- node.Event{Kind: "download", Group: "docs", File: "a.bin", Text: "a.bin: complete"}
	s.client.events <- node.Event{Kind: "download", Group: "docs", File: "b.bin", Text: "b.bin: complete"}
	s.screen.await(t, "* b.bin: complete\n", 1)
	if strings.Contains(s.screen.String(), "a.bin: complete") {
		t.Error("the end of a download is told twice")
	}
	s.typeKeys(t, "download_file docs a.bin &\r")
	s.screen.await(t, "downloading a.bin\n", 1)
	s.client.events <- node.Event{Kind: "download", Group: "docs", File: "a.bin", Text: "a.bin: complete"}
	s.screen.await(t, "* a.bin: complete\n", 1)
	s.typeKeys(t, "\x04") // Ctrl-D
	s.end(t)
}

func TestCtrlC(t *testing.T) {
	s := begin(t, t.Context())
	d := newDownload(node.Progress{Group: "docs", Name: "a.bin", State: node.Downloading, Total: 10})
	s.client.next = d
	s.screen.await(t, "p2pshare> ", 1)
	s.typeKeys(t, "abc\x03")
	s.screen.await(t, `"quit" leaves`, 1)
	s.typeKeys(t, "download_file docs a.bin\r")
	<-d.waited
	s.interrupts <- os.Interrupt
	s.screen.await(t, "goes on in the background\n", 1)
	s.screen.await(t, "downloading a.bin\n", 1)
	s.typeKeys(t, "quit\r")
	s.end(t)
}

func TestInteractEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := begin(t, ctx)
	s.screen.await(t, "p2pshare> ", 1)
	cancel()
	s.end(t)
}

// A person sees more columns than scripts, which rely on the first ones.
func TestTerminalTellsWhoShares(t *testing.T) {
	s := begin(t, t.Context())
	filled(s.client)
	s.typeKeys(t, "list_files docs\r")
	s.screen.await(t, "\tsha1 "+sha1AB+"\tshared by ada\n", 1)
	s.typeKeys(t, "list_groups\r")
	s.screen.await(t, "docs\towner\nHoliday pictures\n", 1)
}
