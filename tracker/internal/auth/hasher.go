package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/secure/precis"

	"github.com/p2pshare/p2pshare/protocol"
)

// HasherOptions bound what password hashing may take. Zero values mean the
// defaults named.
type HasherOptions struct {
	// Concurrent hashes; default one for each two CPUs, at most 4 (about 80 MB), so
	// that a storm of logins leaves the calls of those who are logged in the rest.
	Concurrent int
	// Queue is how many may wait for a turn; default 256: a class
	// that registers at once waits a few seconds instead of being refused. When it
	// is full, the place with the most waiting gives way.
	Queue int
	// Wait is how long one waits for a turn; default 5 s.
	Wait time.Duration
	// Params of new hashes; default 19 MiB, 2 passes, 1 thread.
	Params Params
}

// Hasher makes and checks password hashes. It is safe for concurrent use.
type Hasher struct {
	turns  *turns
	wait   time.Duration
	params Params
	// dummy is checked in place of the record of a user who does not exist, so
	// that the answer takes as long.
	dummy record
}

// NewHasher returns a Hasher.
func NewHasher(o HasherOptions) *Hasher {
	if o.Concurrent <= 0 {
		o.Concurrent = min(4, max(1, runtime.NumCPU()/2))
	}
	if o.Queue <= 0 {
		o.Queue = 256
	}
	if o.Wait <= 0 {
		o.Wait = 5 * time.Second
	}
	if o.Params == (Params{}) {
		o.Params = defaultParams()
	}
	h := &Hasher{
		turns: newTurns(o.Concurrent, o.Queue),
		wait:  o.Wait, params: o.Params,
	}
	// No password hashes to random bytes but by an accident of 2^-256.
	h.dummy = record{params: o.Params, salt: random(saltBytes), hash: random(hashBytes)}
	return h
}

// Password brings a password into the one form that is hashed (PRECIS
// OpaqueString: normal form C, spaces unified), so that two keyboards type the
// same one. The caller hands the result to Hash or Check, which wipe it.
// Errors: E_PASSWORD, without the password.
func Password(text string) ([]byte, error) {
	b, err := precis.OpaqueString.Bytes([]byte(text))
	if err != nil {
		return nil, protocol.Errorf(protocol.CodePassword, "the password is not allowed: it contains a control character or one that is not assigned")
	}
	return b, nil
}

// Hash returns the PHC string of a password, and wipes the password. place is
// where it comes from: places wait for their turns in rotation. Errors: E_BUSY
// with RetryAfter, or that of ctx.
func (h *Hasher) Hash(ctx context.Context, place string, password []byte) (string, error) {
	defer clear(password)
	if err := h.acquire(ctx, place); err != nil {
		return "", err
	}
	defer h.turns.done()
	r := record{params: h.params, salt: random(saltBytes)}
	r.hash = r.derive(password, hashBytes)
	return r.String(), nil
}

// Check reports whether the password is the one of the stored PHC string, and
// wipes the password; place is as for Hash. With an empty string, for a user who does not exist, it
// takes as long and says no. Errors: E_BUSY with RetryAfter, that of ctx, or a
// record that cannot be used.
func (h *Hasher) Check(ctx context.Context, place, phc string, password []byte) (bool, error) {
	defer clear(password)
	r := h.dummy
	if phc != "" {
		var err error
		if r, err = parseRecord(phc); err != nil {
			return false, fmt.Errorf("check password: %w", err)
		}
	}
	if err := h.acquire(ctx, place); err != nil {
		return false, err
	}
	defer h.turns.done()
	same := subtle.ConstantTimeCompare(r.derive(password, len(r.hash)), r.hash) == 1
	return same && phc != "", nil
}

// Outdated reports whether a stored hash cost less than new ones do. It goes by
// the product of memory and passes, so that two trackers with different
// settings do not replace each other's for ever.
func (h *Hasher) Outdated(phc string) bool {
	r, err := parseRecord(phc)
	return err == nil && r.params.cost() < h.params.cost()
}

func (r record) derive(password []byte, n int) []byte {
	return argon2.IDKey(password, r.salt, r.params.Time, r.params.Memory, r.params.Threads, uint32(n))
}

// acquire takes a place in the queue, or is refused at once, and then waits for a turn.
func (h *Hasher) acquire(ctx context.Context, place string) error {
	own := h.turns.join(place)
	timer := time.NewTimer(h.wait)
	defer timer.Stop()
	select {
	case came := <-own:
		if !came {
			return busy(2 * time.Second)
		}
		return nil
	case <-timer.C:
		h.turns.leave(place, own)
		return busy(h.wait)
	case <-ctx.Done():
		h.turns.leave(place, own)
		return ctx.Err()
	}
}

func busy(retry time.Duration) error {
	return &protocol.Error{
		Code: protocol.CodeBusy, RetryAfter: retry,
		Msg: "the tracker is busy checking passwords; try again in a moment",
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}

// RandomPassword returns a password for an operator to hand over: 80 bits in
// letters and digits that nobody mistakes for each other.
func RandomPassword() string {
	const alphabet = "abcdefghijkmnpqrstuvwxyz23456789" // 32, without l, o, 0, 1
	b := random(16)
	for i := range b {
		b[i] = alphabet[b[i]%32]
	}
	return string(b)
}
