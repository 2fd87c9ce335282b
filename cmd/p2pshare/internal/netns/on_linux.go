package netns

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// on makes sockets on the host: a socket belongs to the namespace of the thread
// that makes it. That thread ends here.
func (h *Host) on(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good
		f, err := os.Open("/run/netns/" + h.ns)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			_ = f.Close()
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}
