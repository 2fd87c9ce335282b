package auth

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/p2pshare/p2pshare/protocol"
)

// Outcome is how a try at a password ended.
type Outcome byte

// The outcomes. A try that was not decided, because the tracker was busy,
// counts for nothing.
const (
	Undecided Outcome = iota
	Wrong
	Right
)

// Guard slows down the guessing of one account's password: after a few wrong
// ones a try now and then, and no lockout. Clients that logged in before have
// a count of their own, so that somebody else's guessing does not keep the
// owner out. It is safe for concurrent use.
type Guard struct {
	now      func() time.Time
	failures Rate // of all trackers together
	wait     time.Duration

	mu       sync.Mutex
	rate     Rate // of this one
	accounts *simplelru.LRU[string, *account]
}

// account is guarded by Guard.mu.
type account struct {
	left *rate.Limiter // a token for each wrong password that is still allowed
	busy int           // tries under way
	wake chan struct{} // closed when one of them ends
}

// NewGuard returns a Guard. The pause of failures is stretched by the number of
// trackers, so that all of them together allow what one would.
func NewGuard(failures Rate, trackers int, now func() time.Time) *Guard {
	g := &Guard{
		now: now, failures: failures, wait: 5 * time.Second,
		accounts: newLRU[*account](tableSize),
	}
	g.SetTrackers(trackers)
	return g
}

// SetTrackers changes the number of trackers. Accounts that are being counted
// keep their pace until the next right password.
func (g *Guard) SetTrackers(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rate = g.failures
	g.rate.Per *= time.Duration(max(n, 1))
}

// Begin asks for one try at the password of an account, any text that stands
// for it. device stands for the client where the user has logged in from it
// before, and is "" otherwise. E_RATE with RetryAfter after too many wrong ones; E_BUSY
// if tries under way leave no room for 5 s. Otherwise the caller must call done
// with the outcome, once.
func (g *Guard) Begin(ctx context.Context, name, device string) (done func(Outcome), err error) {
	if g.failures.Off {
		return func(Outcome) {}, nil
	}
	var timeout <-chan time.Time
	for {
		a, wake, err := g.try(name, device)
		if err != nil {
			return nil, err
		}
		if a != nil {
			return func(o Outcome) { g.done(a, o) }, nil
		}
		if timeout == nil {
			timer := time.NewTimer(g.wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-wake:
		case <-timeout:
			return nil, busy(g.wait)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// try takes a place, or returns what to wait for.
func (g *Guard) try(name, device string) (*account, <-chan struct{}, error) {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	key := name
	if device != "" {
		key = name + "\n" + device // no account has a line feed in its name
	}
	a, ok := g.accounts.Get(key)
	if !ok {
		a = &account{left: g.rate.limiter(), wake: make(chan struct{})}
		g.accounts.Add(key, a)
	}
	left := a.left.TokensAt(now)
	switch {
	case left < 1:
		return nil, nil, tooMany(time.Duration((1 - left) / float64(a.left.Limit()) * float64(time.Second)))
	case float64(a.busy+1) > left:
		return nil, a.wake, nil
	}
	a.busy++
	return a, nil, nil
}

func (g *Guard) done(a *account, o Outcome) {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	a.busy--
	close(a.wake)
	a.wake = make(chan struct{})
	switch o {
	case Wrong:
		a.left.AllowN(now, 1)
	case Right:
		a.left = g.rate.limiter()
	case Undecided:
	}
}

// WrongPassword is the one answer to an unknown user and to a wrong password.
func WrongPassword() error {
	return protocol.Errorf(protocol.CodeAuth, "wrong user name or password")
}
