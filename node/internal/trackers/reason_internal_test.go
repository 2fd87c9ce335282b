package trackers

import (
	"errors"
	"net/url"
	"syscall"
	"testing"

	"connectrpc.com/connect"
)

// A person is told in a few words why a tracker failed, not how it is called.
func TestReasonOfABrokenCall(t *testing.T) {
	for _, tt := range []struct {
		cause error
		want  string
	}{
		{errors.New("stream reset"), "the connection broke"},
		{syscall.ECONNRESET, "the connection broke"},
		{syscall.ECONNREFUSED, "connection refused"},
	} {
		err := connect.NewError(connect.CodeCanceled, &url.Error{Op: "Post", URL: "http://12D3KooW/Hello", Err: tt.cause})
		if got := reason(err); got != tt.want {
			t.Errorf("%v: %q, want %q", err, got, tt.want)
		}
	}
}
