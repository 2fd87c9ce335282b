package crowd_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/internal/reexec"
)

type counter struct{ n atomic.Int64 }

func (c *counter) add()     { c.n.Add(1) }
func (c *counter) get() int { return int(c.n.Load()) }

// process is this test binary as a tracker or a crowd.
type process struct{ *reexec.Process }

func start(t testing.TB, name, as string, job any) process {
	t.Helper()
	return process{reexec.Start(t, name, as, job)}
}

func (p process) state() (s trackerState) {
	p.Ask("status", &s)
	return s
}

// cpuTime returns what this process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
