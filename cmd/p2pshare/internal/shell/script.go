package shell

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
)

// Input reads lines of commands and passwords from one stream, each when it is
// asked for. A read that a context ends stays under way; the next call takes
// its line.
type Input struct {
	ask   chan struct{}
	lines chan inputLine
	busy  bool // a read is under way, or reading has ended
}

type inputLine struct {
	text string
	err  error
}

// NewInput reads r from a goroutine that ends with r, or after Close. One
// goroutine uses an Input.
func NewInput(r io.Reader) *Input {
	in := &Input{ask: make(chan struct{}, 1), lines: make(chan inputLine, 1)}
	go in.read(bufio.NewReaderSize(r, maxLine+2))
	return in
}

// Close ends the reading; one that is under way ends with its line.
func (in *Input) Close() { close(in.ask) }

func (in *Input) read(r *bufio.Reader) {
	defer close(in.lines)
	for range in.ask {
		text, err := readLine(r)
		in.lines <- inputLine{text, err}
		if err != nil && !errors.Is(err, errLong) {
			return
		}
	}
}

var errLong = protocol.Errorf(protocol.CodeUsage, "the line is longer than %d bytes", maxLine)

// readLine returns a line without its end, io.EOF behind the last one.
func readLine(r *bufio.Reader) (string, error) {
	text, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		return "", errLong
	}
	if err != nil && len(text) == 0 {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

// Line returns the next line without its end. io.EOF behind the last one;
// E_USAGE for one that is too long; the context's error.
func (in *Input) Line(ctx context.Context) (string, error) {
	if !in.busy {
		in.busy = true
		in.ask <- struct{}{} // there is room: a read takes one and gives one line
	}
	select {
	case l, open := <-in.lines:
		if !open {
			return "", io.EOF
		}
		in.busy = l.err != nil && !errors.Is(l.err, errLong)
		return l.text, l.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Secret takes the next line as a password; for Options.Secret.
func (in *Input) Secret(ctx context.Context, _ string) (string, error) {
	text, err := in.Line(ctx)
	if errors.Is(err, io.EOF) {
		return "", protocol.Errorf(protocol.CodeUsage, "no password: standard input has ended")
	}
	return text, err
}

// Lines gives the lines of a script; Input is one.
type Lines interface {
	// Line returns the next line, io.EOF behind the last one.
	Line(ctx context.Context) (string, error)
}

// Commands is a script whose lines are known.
type Commands []string

// Line takes the first line off.
func (c *Commands) Line(context.Context) (string, error) {
	if len(*c) == 0 {
		return "", io.EOF
	}
	first := (*c)[0]
	*c = (*c)[1:]
	return first, nil
}

// RunScript runs lines until they end, quit, or the context's end, and returns
// the first failure, or the context's error if that ended a command. It goes on
// behind a failure unless stopAtFirst is set. What it returns has been printed.
func (s *Shell) RunScript(ctx context.Context, lines Lines, stopAtFirst bool) error {
	var first error
	for {
		text, err := lines.Line(ctx)
		switch {
		case errors.Is(err, io.EOF) || ctx.Err() != nil:
			return first // between two commands nothing is cut short
		case err == nil:
			err = s.Run(ctx, text)
		case errors.Is(err, errLong):
			err = s.fail("", err, nil)
		default:
			return cmp.Or(first, s.fail("", fmt.Errorf("read the commands: %w", err), nil))
		}
		switch {
		case errors.Is(err, ErrQuit):
			return first
		case err != nil && ctx.Err() != nil:
			return cmp.Or(first, ctx.Err())
		case first == nil:
			first = err
		}
		if first != nil && stopAtFirst {
			return first
		}
	}
}
