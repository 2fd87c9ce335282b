package host

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isAddrInUse includes WSAEACCES: Windows answers so when the other program
// holds the port for itself alone.
func isAddrInUse(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, windows.WSAEACCES)
}
