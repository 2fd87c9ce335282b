package crowd_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

type counter struct{ n atomic.Int64 }

func (c *counter) add()     { c.n.Add(1) }
func (c *counter) get() int { return int(c.n.Load()) }

// process is this test binary in another role: lines of JSON in and out.
type process struct {
	t       testing.TB
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan []byte // closed at the end of its output
}

// start runs a process and hands it its job.
func start(t testing.TB, name, as string, job any) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(os.Args[0]), answers: make(chan []byte, 1000)}
	p.cmd.Env = append(os.Environ(), role+"="+as)
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
		scan.Buffer(nil, 1<<20)
		for scan.Scan() {
			p.answers <- append([]byte(nil), scan.Bytes()...)
		}
	}()
	t.Cleanup(p.kill)
	first, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	p.write(string(first))
	return p
}

func (p *process) write(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// answer decodes the next answer of a process.
func (p *process) answer(v any) {
	p.t.Helper()
	select {
	case line, ok := <-p.answers:
		if !ok {
			p.t.Fatalf("%s ended", p.name)
		}
		if err := json.Unmarshal(line, v); err != nil {
			p.t.Fatalf("%s said %q: %v", p.name, line, err)
		}
	case <-time.After(patience):
		p.t.Fatalf("%s says nothing", p.name)
	}
}

func (p *process) ask(line string, v any) {
	p.t.Helper()
	p.write(line)
	p.answer(v)
}

func (p *process) state() (s trackerState) {
	p.t.Helper()
	p.ask("status", &s)
	return s
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	for range p.answers {
	}
	_ = p.cmd.Wait()
}

// end closes the input of a process and waits until it has ended by itself.
func (p *process) end() {
	_ = p.in.Close()
	for range p.answers {
	}
	_ = p.cmd.Wait()
}

// memory returns RssAnon + RssShmem of the process, in bytes: what it takes of
// the machine that no cache could give back. 0 where the system does not tell.
func (p *process) memory() (bytes int64) {
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

// files returns how many descriptors the process has open, 0 where the system does not tell.
func (p *process) files() int {
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	return len(names)
}

// cpuTime returns what this process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
