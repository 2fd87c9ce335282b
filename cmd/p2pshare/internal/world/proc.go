package world

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Proc is one running process.
type Proc struct {
	Name string

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan string   // of standard output; closed at its end
	done   chan struct{} // closed when the process has ended
	err    error         // of Wait, after done
	stderr syncBuffer
	peak   atomic.Int64
}

// maxStderr is how much of a process's standard error is kept: its end.
const maxStderr = 64 << 10

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if over := s.b.Len() + len(p) - maxStderr; over > 0 {
		s.b.Next(over)
	}
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// lineWriter calls emit for each whole line that is written to it.
type lineWriter struct {
	emit func(string)
	rest []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, after, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			if len(l.rest) > maxStderr { // no line of ours is that long
				l.rest = nil
			}
			return len(p), nil
		}
		l.emit(string(line))
		l.rest = after
	}
}

// Start starts a process that is neither tracker nor client. It is the caller's
// to end.
func Start(name string, cmd *exec.Cmd) (*Proc, error) { return start(name, cmd, nil) }

func start(name string, cmd *exec.Cmd, onStderr func(string)) (*Proc, error) {
	p := &Proc{Name: name, cmd: cmd, lines: make(chan string, 1024), done: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, cmd.Stderr = stdin, &p.stderr
	if onStderr != nil {
		cmd.Stderr = io.MultiWriter(&p.stderr, &lineWriter{emit: onStderr})
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		scan := bufio.NewScanner(stdout)
		scan.Buffer(nil, 16<<20)
		for scan.Scan() {
			p.lines <- scan.Text()
		}
		close(p.lines)
		p.err = cmd.Wait()
		close(p.done)
	}()
	go p.watchMemory()
	return p, nil
}

// Pid returns the process id.
func (p *Proc) Pid() int { return p.cmd.Process.Pid }

// Write sends a line to the process.
func (p *Proc) Write(line string) error {
	_, err := io.WriteString(p.stdin, line+"\n")
	return err
}

// CloseInput ends the standard input of the process.
func (p *Proc) CloseInput() error { return p.stdin.Close() }

// Line returns the next line of standard output.
func (p *Proc) Line(ctx context.Context) (string, error) {
	select {
	case line, ok := <-p.lines:
		if !ok {
			return "", fmt.Errorf("%s ended: %w", p.Name, io.EOF)
		}
		return line, nil
	case <-ctx.Done():
		return "", fmt.Errorf("%s says nothing: %w", p.Name, ctx.Err())
	}
}

// Stderr returns the end of what the process wrote to standard error.
func (p *Proc) Stderr() string { return p.stderr.String() }

// Kill ends the process as a power cut would, and waits for it.
func (p *Proc) Kill() {
	_ = p.cmd.Process.Kill()
	p.drain()
	<-p.done
}

// Stop asks the process to end and waits; its exit status is 0 or an error.
func (p *Proc) Stop(ctx context.Context) error {
	p.interrupt()
	return p.Wait(ctx)
}

// Hangup sends the process the signal on which a tracker reads its list again.
func (p *Proc) Hangup() error { return p.cmd.Process.Signal(syscall.SIGHUP) }

// Wait waits for the process to end by itself.
func (p *Proc) Wait(ctx context.Context) error {
	go p.drain()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s: %w: %s", p.Name, p.err, p.Stderr())
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", p.Name, ctx.Err())
	}
}

// ExitCode returns the exit status once the process has ended, -1 before.
func (p *Proc) ExitCode() int {
	if !p.ended() {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// drain discards standard output, so that nobody waits for a reader.
func (p *Proc) drain() {
	for range p.lines {
	}
}

func (p *Proc) interrupt() { _ = p.cmd.Process.Signal(os.Interrupt) }

func (p *Proc) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *Proc) waitFor(d time.Duration) bool {
	go p.drain()
	select {
	case <-p.done:
		return true
	case <-time.After(d):
		return false
	}
}

// PeakMemory returns the most RssAnon + RssShmem, in bytes, that was seen at
// the process: what it took of the machine that no cache could give back. 0
// where the system does not tell.
func (p *Proc) PeakMemory() int64 { return p.peak.Load() }

func (p *Proc) watchMemory() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
			p.peak.Store(max(p.peak.Load(), memory(p.cmd.Process.Pid)))
		}
	}
}

func memory(pid int) (bytes int64) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "RssAnon" && name != "RssShmem" {
			continue
		}
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		bytes += n << 10
	}
	return bytes
}

// CPU returns the time that the process has used so far, user and system, to
// a hundredth of a second. Linux only.
func (p *Proc) CPU() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid()) + "/stat")
	if err != nil {
		return 0, err
	}
	// Behind the name, which may hold anything, utime and stime are the 12th and
	// the 13th field, in units that are a hundredth of a second everywhere.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("unexpected form of /proc/%d/stat", p.Pid())
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", p.Pid(), err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// Memory returns RssAnon + RssShmem of the process now, in bytes; 0 where the
// system does not tell.
func (p *Proc) Memory() int64 { return memory(p.Pid()) }
