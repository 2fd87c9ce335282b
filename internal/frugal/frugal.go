// Package frugal bounds what one execution of a fuzz target may allocate. Only
// tests import it.
package frugal

import (
	"runtime/metrics"
	"testing"
)

// Most is what one execution may allocate in all, in bytes, freed or not: 64 MiB.
const Most = 64 << 20

// Check begins an execution; what it returns ends it. All that the process
// allocates meanwhile counts, which in a fuzz worker is the one execution.
func Check(t testing.TB) func() {
	before := allocated()
	return func() {
		if took := allocated() - before; took > Most {
			t.Errorf("%d MiB were allocated, at most %d are allowed", took>>20, Most>>20)
		}
	}
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
