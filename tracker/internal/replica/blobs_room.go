package replica

import "time"

const (
	// firstPause and longestPause are how long no missing manifest is fetched once
	// the disk had no room for one; what a client puts, or another tracker wants
	// confirmed, is tried again after firstPause. A try costs megabytes from another tracker, and
	// a second in which nothing is stored: the commit that fails turns away the
	// small changes that would have fitted.
	firstPause   = 10 * time.Second
	longestPause = 15 * time.Minute
)

// pause is how long to wait before the next try: longer after each that fails.
type pause struct {
	since time.Time // the latest that failed
	until time.Time
	next  time.Duration
}

// lackRoom begins a pause, unless there is one.
func (b *blobs) lackRoom(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noRoom.since = now
	if now.Before(b.noRoom.until) {
		return // of the same try
	}
	wait := max(b.noRoom.next, firstPause)
	b.noRoom.until, b.noRoom.next = now.Add(wait), min(2*wait, longestPause)
}

// hasRoom reports whether there is no pause.
func (b *blobs) hasRoom(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !now.Before(b.noRoom.until)
}

// mayFit reports whether a manifest that somebody waits for is worth a try. That
// one may be due long before those that nobody waits for.
func (b *blobs) mayFit(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Sub(b.noRoom.since) >= firstPause
}

// roomCame ends the pause: somebody has made room on a disk that took nothing.
func (b *blobs) roomCame() {
	b.mu.Lock()
	b.noRoom.since, b.noRoom.until = time.Time{}, time.Time{}
	b.mu.Unlock()
	b.fetchSoon()
}

// fitted has the next pause be a short one: all that was fetched could be stored.
func (b *blobs) fitted() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noRoom.next = 0
}
