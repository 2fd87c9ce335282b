//go:build unix

package world

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Freeze stops the process as it stands: its connections stay open and nothing
// comes from them any more. Thaw, or Kill, ends that. Where the system tells,
// it waits until no thread runs.
func (p *Proc) Freeze() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	limit := time.NewTimer(5 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for running(p.cmd.Process.Pid) {
		select {
		case <-tick.C:
		case <-limit.C:
			return fmt.Errorf("%s does not stop", p.Name)
		}
	}
	return nil
}

// running reports whether a thread of a process is not stopped.
func running(pid int) bool {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/stat")
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The state follows the name, which is in parentheses.
		if _, state, ok := bytes.Cut(stat, []byte(") ")); ok && !bytes.HasPrefix(state, []byte("T")) {
			return true
		}
	}
	return false
}

// Thaw lets a frozen process go on.
func (p *Proc) Thaw() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
