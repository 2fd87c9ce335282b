package shell

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"unicode/utf16"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// fields is a JSON object under construction.
type fields map[string]any

// result is what a command answers.
type result struct {
	lines  []string // for people, without line ends
	fields fields   // for programs
	stored *node.Stored
}

// line makes a result of one line.
func line(f fields, format string, args ...any) result {
	return result{lines: []string{fmt.Sprintf(format, args...)}, fields: f}
}

// change makes a result of one line that tells of a change of the network.
func change(st node.Stored, f fields, format string, args ...any) result {
	r := line(f, format, args...)
	r.stored = &st
	return r
}

// columns joins a row with tabs. What other people chose is escaped, so no
// column can hold a tab or a line end.
func columns(values ...any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = protocol.Printable(fmt.Sprint(v))
	}
	return strings.Join(texts, "\t")
}

// answer is the JSON form of a result.
type answer struct {
	Command string  `json:"command"`
	OK      bool    `json:"ok"`
	Result  *fields `json:"result,omitempty"`
	Error   *fault  `json:"error,omitempty"`
}

type fault struct {
	Code    protocol.Code `json:"code"`
	Message string        `json:"message"`
}

// answer prints the result of a command that succeeded. It fails if that cannot
// be written.
func (s *Shell) answer(name string, r result) error {
	var err error
	if s.JSON {
		f := r.object()
		err = s.object(answer{Command: name, OK: true, Result: &f})
	} else {
		err = s.print(r)
	}
	if r.stored == nil {
		return err
	}
	if r.stored.Already {
		s.Progress.Note("note: nothing changed, it was so already")
	}
	if r.stored.On == 0 {
		s.Progress.Note("note: no tracker knows of it yet; they are told once one is reachable")
	}
	if r.stored.On == 1 && r.stored.Trackers > 1 {
		s.Progress.Note(fmt.Sprintf("note: stored on 1 of %d trackers; the others get it once they are reachable", r.stored.Trackers))
	}
	return err
}

func (r result) object() fields {
	f := fields{}
	maps.Copy(f, r.fields)
	if r.stored != nil {
		f["stored_on"], f["trackers"] = r.stored.On, r.stored.Trackers
	}
	return f
}

func (s *Shell) print(r result) error {
	for _, l := range r.lines {
		if _, err := io.WriteString(s.Out, l+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// fail prints an error and returns it. partial is what was achieved before it.
func (s *Shell) fail(name string, err error, partial *result) error {
	if isCancelled(err) && !hasCode(err) {
		err = protocol.Errorf(protocol.CodeInternal, "interrupted before %s was done", orCommand(name))
	}
	code, message := protocol.CodeOf(err), protocol.Printable(err.Error())
	if s.JSON {
		a := answer{Command: name, Error: &fault{code, message}}
		if partial != nil && len(partial.fields) > 0 {
			f := partial.object()
			a.Result = &f
		}
		_ = s.object(a) // the error is told below, too
	} else if partial != nil {
		_ = s.print(*partial) // the command fails as it is
	}
	_, _ = fmt.Fprintf(s.Err, "error: %s (%s)\n", message, code)
	return err
}

func orCommand(name string) string {
	if name == "" {
		return "the command"
	}
	return name
}

func isCancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func hasCode(err error) bool {
	_, ok := errors.AsType[*protocol.Error](err)
	return ok
}

func (s *Shell) object(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // maps, strings and numbers: nothing that cannot be encoded
	_, err := io.WriteString(s.Out, asciiControls(strings.TrimSuffix(b.String(), "\n"))+"\n")
	return err
}

// asciiControls writes those characters of a JSON text that a terminal might
// obey, or that hide what it says, as escapes of JSON: programs read the same.
func asciiControls(text string) string {
	if protocol.Printable(text) == text {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if protocol.Printable(string(r)) == string(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
