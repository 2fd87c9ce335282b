// Package promise says how long a test lets something take that a document
// promises to be done in time. Only tests import it.
package promise

import (
	"os"
	"time"
)

// Within is d where the promise is measured: under make long, which runs few
// things at a time. Elsewhere all tests run at once, on what machine there is,
// and take turns for its processors; there it is several times d, so that what
// takes far too long is still noticed.
func Within(d time.Duration) time.Duration {
	if os.Getenv("P2PSHARE_LONG") != "" {
		return d
	}
	return crowded * d
}
