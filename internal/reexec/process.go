package reexec

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long an answer may usually take before the test is given up.
const patience = time.Minute

// Process is a child as its parent sees it. One goroutine of the test uses it at a time.
type Process struct {
	Name    string
	t       testing.TB
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan []byte // closed at the end of its output
}

// Start runs this test binary in a role and hands it its job. What the child
// writes to its standard error is seen in the test's. The end of the test kills it.
func Start(t testing.TB, name, role string, job any) *Process {
	t.Helper()
	p := &Process{Name: name, t: t, cmd: exec.Command(os.Args[0]), answers: make(chan []byte, 1000)}
	p.cmd.Env = append(os.Environ(), roleVar+"="+role)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.answers)
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, maxLine)
		for scan.Scan() {
			p.answers <- append([]byte(nil), scan.Bytes()...)
		}
	}()
	t.Cleanup(p.Kill)
	first, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	p.Tell(string(first))
	return p
}

// Tell writes a line and does not wait for an answer.
func (p *Process) Tell(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", p.Name, err)
	}
}

// Answer decodes the next answer.
func (p *Process) Answer(v any) {
	p.t.Helper()
	p.AnswerWithin(patience, v)
}

// AnswerWithin is Answer for what may take longer.
func (p *Process) AnswerWithin(limit time.Duration, v any) {
	p.t.Helper()
	select {
	case line, ok := <-p.answers:
		if !ok {
			p.t.Fatalf("%s ended", p.Name)
		}
		if err := json.Unmarshal(line, v); err != nil {
			p.t.Fatalf("%s said %q: %v", p.Name, line, err)
		}
	case <-time.After(limit):
		p.t.Fatalf("%s says nothing for %v", p.Name, limit)
	}
}

// Ask writes a line and decodes the answer to it.
func (p *Process) Ask(line string, v any) {
	p.t.Helper()
	p.Tell(line)
	p.Answer(v)
}

// Kill ends the process at once, as kill -9 does, and waits for it. It may be called again.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	p.wait()
}

// End tells the process that there are no more requests, and waits until it has ended by itself.
func (p *Process) End() {
	_ = p.in.Close()
	p.wait()
}

func (p *Process) wait() {
	for range p.answers {
	}
	_ = p.cmd.Wait()
}

// Memory returns what the process takes of the machine that no cache could give
// back, in bytes: RssAnon + RssShmem. 0 where the system does not tell.
func (p *Process) Memory() (bytes int64) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if name == "RssAnon" || name == "RssShmem" {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			bytes += n << 10
		}
	}
	return bytes
}

// Files returns how many descriptors the process has open, 0 where the system does not tell.
func (p *Process) Files() int {
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	return len(names)
}
