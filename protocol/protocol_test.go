package protocol_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/protocol"
)

func TestErrorsMatchByCode(t *testing.T) {
	err := fmt.Errorf("share: %w", protocol.Errorf(protocol.CodeNotFound, "no such file: %w", fs.ErrNotExist))
	if !errors.Is(err, protocol.ErrNotFound) || errors.Is(err, protocol.ErrExists) {
		t.Error("matches the wrong sentinel")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("loses its cause")
	}
	if got, want := err.Error(), "share: no such file: file does not exist"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := protocol.CodeOf(err); got != protocol.CodeNotFound {
		t.Errorf("got %s", got)
	}
	if got := protocol.CodeOf(io()); got != protocol.CodeInternal {
		t.Errorf("got %s", got)
	}
	wrapped := &protocol.Error{Code: protocol.CodeState, Msg: "the journal is damaged", Err: io()}
	if got, want := wrapped.Error(), "the journal is damaged: short read"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func io() error { return errors.New("short read") }

func TestIdentifiers(t *testing.T) {
	nonce := protocol.NewNonce()
	a := protocol.NewUserID("peer", "bob", nonce)
	if a != protocol.NewUserID("peer", "bob", nonce) {
		t.Error("the same request makes two users")
	}
	for name, other := range map[string]protocol.UserID{
		"peer":  protocol.NewUserID("reep", "bob", nonce),
		"name":  protocol.NewUserID("peer", "rob", nonce),
		"parts": protocol.NewUserID("peerb", "ob", nonce),
		"nonce": protocol.NewUserID("peer", "bob", protocol.NewNonce()),
		"kind":  protocol.UserID(protocol.NewGroupID(a, "bob", nonce)),
	} {
		if other == a {
			t.Errorf("another %s gives the same id", name)
		}
	}
	back, err := protocol.ParseID[protocol.UserID](a.String())
	if err != nil || back != a {
		t.Errorf("got %v, %v", back, err)
	}
	if _, err := protocol.IDFromBytes[protocol.FileID](a[:]); protocol.CodeOf(err) != protocol.CodeUsage {
		t.Errorf("16 bytes as a file id: %v", err)
	}
}

func TestStampsAreOrdered(t *testing.T) {
	stamps := rapid.Custom(func(t *rapid.T) protocol.Stamp {
		return protocol.Stamp{
			Wall:    rapid.Int64Range(-2, 2).Draw(t, "wall"),
			Logical: rapid.Uint32Range(0, 2).Draw(t, "logical"),
			Origin:  rapid.SampledFrom([]string{"", "a", "b-c"}).Draw(t, "origin"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := stamps.Draw(t, "a"), stamps.Draw(t, "b"), stamps.Draw(t, "c")
		if a.Compare(b) != -b.Compare(a) || (a == b) != (a.Compare(b) == 0) {
			t.Errorf("%v and %v have no order", a, b)
		}
		if a.After(b) && b.After(c) && !a.After(c) {
			t.Errorf("%v, %v, %v go in a circle", a, b, c)
		}
		if a.Wall < 0 {
			return // clocks do not show years before 1970
		}
		if back, err := protocol.ParseStamp(a.String()); err != nil || back != a {
			t.Errorf("%v came back as %v, %v", a, back, err)
		}
	})
}
