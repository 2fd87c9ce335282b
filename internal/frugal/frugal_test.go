package frugal_test

import (
	"testing"

	"github.com/p2pshare/p2pshare/internal/frugal"
)

type told struct {
	testing.TB
	failed bool
}

func (t *told) Errorf(string, ...any) { t.failed = true }

var kept []byte

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		each, times int
		want        bool
	}{
		{frugal.Most / 2, 1, false},
		{frugal.Most + 1, 1, true},
		{1 << 20, 70, true}, // freed or not
		{4 << 10, 20_000, true},
	} {
		to := &told{TB: t}
		end := frugal.Check(to)
		for range test.times {
			kept = make([]byte, test.each)
		}
		if end(); to.failed != test.want {
			t.Errorf("%d times %d bytes: refused %v, want %v", test.times, test.each, to.failed, test.want)
		}
	}
}
