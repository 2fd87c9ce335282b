package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/p2pshare/p2pshare/protocol"
)

func fileIsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// askSecret returns a function that asks for a password on the terminal in,
// without echo.
func askSecret(in *os.File, out io.Writer) func(context.Context, string) (string, error) {
	return func(_ context.Context, prompt string) (string, error) {
		_, _ = io.WriteString(out, prompt)
		password, err := term.ReadPassword(int(in.Fd()))
		_, _ = io.WriteString(out, "\n")
		if err != nil {
			return "", protocol.Errorf(protocol.CodeUsage, "no password given: %w", err)
		}
		return string(password), nil
	}
}

// askYes asks a question on the terminal; anything but y or yes is no, and so
// is the end of the context. Then the read that waits for the answer is left to
// the end of the process.
func askYes(ctx context.Context, in io.Reader, out io.Writer, question string) bool {
	if ctx.Err() != nil {
		return false
	}
	fmt.Fprintf(out, "%s [y/N] ", question)
	line := make(chan string, 1)
	go func() { line <- readAnswer(in) }()
	select {
	case answer := <-line:
		return answer == "y" || answer == "yes"
	case <-ctx.Done():
		fmt.Fprintln(out)
		return false
	}
}

// readAnswer reads a short line, a byte at a time, so that what is typed behind
// it is left for others.
func readAnswer(in io.Reader) string {
	var answer strings.Builder
	one := make([]byte, 1)
	for answer.Len() < 100 {
		n, err := in.Read(one)
		if n == 1 && one[0] != '\n' {
			answer.WriteByte(one[0])
			continue
		}
		if n == 1 || err != nil {
			break
		}
	}
	return strings.ToLower(strings.TrimSpace(answer.String()))
}
