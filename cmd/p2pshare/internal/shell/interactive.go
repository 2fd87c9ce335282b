package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/ergochat/readline"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// Terminal says where an interactive shell meets its user.
type Terminal struct {
	// In and Out are the terminal.
	In  io.Reader
	Out io.Writer
	// History is the file that keeps command lines; empty: none. It is made
	// readable for the user alone, and lines with passwords stay out of it.
	History string
	// Interrupts gets what Ctrl-C sends while a command runs.
	Interrupts <-chan os.Signal
	// Raw and Cooked switch the terminal's mode, Size tells its columns and rows;
	// nil: those of the process's terminal.
	Raw, Cooked func() error
	Size        func() (columns, rows int)
}

// Interact runs commands that a user types, until quit, the end of input, or
// the context's end. Notices of the node appear between them.
func (s *Shell) Interact(ctx context.Context, t Terminal) error {
	if t.History != "" {
		if err := ownFile(t.History); err != nil {
			return err
		}
	}
	echo := &cursor{in: t.In, out: t.Out}
	rl, err := readline.NewFromConfig(&readline.Config{
		Prompt:                 "p2pshare> ",
		HistoryFile:            t.History,
		DisableAutoSaveHistory: true,
		AutoComplete:           completer{func(c *command, words []string) []string { return s.candidates(ctx, c, words) }},
		InterruptPrompt:        "\n",
		EOFPrompt:              "\n",
		Stdin:                  readerOnly{echo},
		Stdout:                 echo,
		Stderr:                 s.Err,
		FuncIsTerminal:         func() bool { return true },
		FuncMakeRaw:            t.Raw,
		FuncExitRaw:            t.Cooked,
		FuncGetSize:            t.Size,
	})
	if err != nil {
		return fmt.Errorf("open the terminal: %w", err)
	}
	stopClosing := context.AfterFunc(ctx, func() { _ = rl.Close() })
	defer func() {
		stopClosing()
		_ = rl.Close()
	}()
	s.Secret = func(_ context.Context, prompt string) (string, error) { return askSecret(rl, prompt) }
	s.SecretTwice = true

	s.atTerminal = true

	var at notices
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for e := range s.Client.Watch(watching) {
			if e.Kind == storedOnOne || e.Kind == downloadEnded && s.followed.has(e.Group, e.File) {
				continue // the command that it is about says so itself
			}
			at.show(s.Progress.Note, rl.Stderr(), e)
		}
	}()
	defer func() {
		stop()
		<-watched
	}()

	for {
		text, err := rl.ReadLine()
		switch {
		case errors.Is(err, readline.ErrInterrupt):
			s.Progress.Note("\"quit\" leaves")
			continue
		case err != nil: // the end of input, or of the context
			return nil
		}
		if keepsInHistory(text) {
			_ = rl.SaveToHistory(text) // without it the shell works as well
		}
		at.running(true)
		err = s.runInterruptible(ctx, t.Interrupts, text)
		at.running(false)
		if errors.Is(err, ErrQuit) || ctx.Err() != nil {
			return nil
		}
	}
}

// Kinds of events: a change that only one tracker has, a download that is over.
const (
	storedOnOne   = "stored_on_one"
	downloadEnded = "download"
)

// runInterruptible runs a line; an interrupt cancels the command, not the shell.
func (s *Shell) runInterruptible(ctx context.Context, interrupts <-chan os.Signal, text string) error {
	select {
	case <-interrupts: // meant for the command before
	default:
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-interrupts:
			cancel(ErrInterrupted)
		case <-running.Done():
		}
	})
	err := s.Run(running, text)
	cancel(nil)
	watcher.Wait()
	return err
}

func askSecret(rl *readline.Instance, prompt string) (string, error) {
	cfg := rl.GeneratePasswordConfig()
	cfg.Prompt = prompt
	cfg.MaskRune = ' ' // no echo
	cfg.FuncGetSize = rl.GetConfig().FuncGetSize
	password, err := rl.ReadLineWithConfig(cfg)
	if err != nil {
		return "", protocol.Errorf(protocol.CodeUsage, "no password given")
	}
	return password, nil
}

// notices decides which way a notice reaches the terminal: through the line
// editor while it shows a prompt, past the progress bars while a command runs.
type notices struct {
	mu   sync.Mutex
	busy bool
}

func (n *notices) running(busy bool) {
	n.mu.Lock()
	n.busy = busy
	n.mu.Unlock()
}

func (n *notices) show(past func(string), prompt io.Writer, e node.Event) {
	text := "* " + protocol.Printable(e.Text)
	n.mu.Lock()
	busy := n.busy
	n.mu.Unlock()
	if busy {
		past(text)
		return
	}
	_, _ = io.WriteString(prompt, text+"\n")
}

// ownFile makes the file if it is missing, and nobody else's to read.
func ownFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return protocol.Errorf(protocol.CodeConfig, "the history cannot be kept: %w", err)
	}
	err = f.Chmod(0o600)
	return errors.Join(err, f.Close())
}

// cursor answers the line editor's question where the cursor is, in place of
// the terminal: the prompt always begins a line, and some terminals, like those
// of programs that drive a shell, never answer.
type cursor struct {
	in      io.Reader
	out     io.Writer
	mu      sync.Mutex
	pending []byte
}

// cursorQuery is the request for a cursor position report, cursorAnswer the
// report of the first column.
const (
	cursorQuery  = "\x1b[6n"
	cursorAnswer = "\x1b[1;1R"
)

// Write passes all but the question on to the terminal.
func (c *cursor) Write(b []byte) (int, error) {
	if string(b) != cursorQuery {
		return c.out.Write(b)
	}
	c.mu.Lock()
	c.pending = append(c.pending, cursorAnswer...)
	c.mu.Unlock()
	return len(b), nil
}

// Read gives the answer that is due, then what the user types. The editor asks
// before it reads, so an answer never waits behind a key.
func (c *cursor) Read(b []byte) (int, error) {
	c.mu.Lock()
	n := copy(b, c.pending)
	c.pending = c.pending[n:]
	c.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	return c.in.Read(b)
}

// readerOnly hides Write from the line editor.
type readerOnly struct{ io.Reader }
