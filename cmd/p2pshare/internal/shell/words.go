package shell

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/mattn/go-shellwords"

	"github.com/p2pshare/p2pshare/protocol"
)

// maxLine bounds a command line, in bytes: paths and names fit many times.
const maxLine = 64 << 10

// split cuts a line into words as a shell does: quotes and backslashes keep
// space together. Nothing is expanded, and no character but those and space has
// a meaning; background is set, and the word left out, when the last one is an
// unquoted &. A blank line and a comment have no words.
func split(line string) (words []string, background bool, err error) {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return nil, false, nil
	}
	if len(line) > maxLine {
		return nil, false, protocol.Errorf(protocol.CodeUsage, "the line is longer than %d bytes", maxLine)
	}
	if before, found := strings.CutSuffix(line, "&"); found {
		if trimmed := strings.TrimRightFunc(before, unicode.IsSpace); trimmed != before || before == "" {
			line, background = trimmed, true
		}
	}
	p := shellwords.NewParser()
	p.ParseEnv, p.ParseBacktick, p.ParseComment = false, false, false
	p.SetExcludeSeparators('`', '$', '(', ')', ';', '&', '|', '<', '>')
	words, err = p.Parse(line)
	if err != nil {
		return nil, false, protocol.Errorf(protocol.CodeUsage, "the line cannot be read: a quote or backslash is left open")
	}
	return words, background, nil
}

// Count writes a number with what is counted: 1 argument, 2 arguments.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// firstWord guesses the command of a line that may not be readable: for
// deciding what must not be kept, never for running it.
func firstWord(line string) string {
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return ""
	}
	return strings.ToLower(strings.Trim(fields[0], `"'\`))
}

// CarriesPassword reports whether a password stands on the line, or may: a line
// of a command that takes one and cannot be read is suspected.
func CarriesPassword(line string) bool {
	c := lookUp(firstWord(line))
	if c == nil || c.passwordAfter < 0 {
		return false
	}
	words, _, err := split(line)
	return err != nil || len(words)-1 > c.passwordAfter
}

// keepsInHistory reports whether the line may be written to the history file:
// a command known and readable, without a password. A mistyped "login" with a
// password behind it is no known command.
func keepsInHistory(line string) bool {
	words, _, err := split(line)
	return err == nil && len(words) > 0 && lookUp(strings.ToLower(words[0])) != nil && !CarriesPassword(line)
}
