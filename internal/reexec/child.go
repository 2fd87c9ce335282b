// Package reexec runs parts of a test as processes of their own: the test binary,
// started again in a role. The parent writes lines, the first of them a job in
// JSON; the child answers in lines of JSON. Only tests import it.
package reexec

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"testing"
)

// roleVar names the role in the environment of a child.
const roleVar = "P2PSHARE_TEST_ROLE"

// maxLine is how long a line may be, in bytes: a job lists all accounts of a crowd.
const maxLine = 16 << 20

// Main is for the TestMain of a test binary with roles: a process without a role
// runs the tests, another one does what it is for. It returns the exit status.
func Main(m *testing.M, roles map[string]func(*Parent) error) int {
	name := os.Getenv(roleVar)
	if name == "" {
		return m.Run()
	}
	run, ok := roles[name]
	if !ok {
		run = func(*Parent) error { return fmt.Errorf("no role %q in this binary", name) }
	}
	if err := run(newParent(os.Stdin, os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		return 1
	}
	return 0
}

// Parent is the other end in a child.
type Parent struct {
	lines   *bufio.Scanner
	answers *json.Encoder
}

func newParent(in io.Reader, out io.Writer) *Parent {
	p := &Parent{lines: bufio.NewScanner(in), answers: json.NewEncoder(out)}
	p.lines.Buffer(nil, maxLine)
	return p
}

// Job decodes the first line.
func (p *Parent) Job(job any) error {
	if !p.lines.Scan() {
		return fmt.Errorf("read the job: %w", io.ErrUnexpectedEOF)
	}
	if err := json.Unmarshal(p.lines.Bytes(), job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	return nil
}

// Next waits for the next request, and returns false when there will be none:
// the parent wants the child to end, or has ended itself.
func (p *Parent) Next() (request string, ok bool) {
	ok = p.lines.Scan()
	return p.lines.Text(), ok
}

// Answer tells the parent something.
func (p *Parent) Answer(v any) error { return p.answers.Encode(v) }
