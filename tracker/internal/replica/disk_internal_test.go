package replica

import (
	"errors"
	"testing"
	"time"
)

// A disk that takes some and refuses others is one trouble, not many.
func TestDiskNote(t *testing.T) {
	var d diskNote
	begin := time.Unix(1000, 0)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	want := func(when int, still bool, since time.Time) {
		t.Helper()
		if got := d.look(still, at(when)); !got.Since.Equal(since) || got.Since.IsZero() != (got.Err == nil) {
			t.Errorf("after %d s: since %v, %v, want %v", when, got.Since, got.Err, since)
		}
	}
	want(0, false, time.Time{})
	d.refused(errors.New("full"), at(1))
	want(1, true, at(1))
	want(10, false, at(1))
	d.refused(errors.New("full"), at(12))
	want(20, false, at(1))
	want(100, true, at(1))
	want(101, false, time.Time{})
	d.refused(errors.New("full"), at(102))
	want(102, false, at(102))
}
