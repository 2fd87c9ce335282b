package replica

import "time"

const (
	// firstPause and longestPause are how long no missing manifest is fetched once
	// the disk had no room for one. A try costs megabytes from another tracker, and
	// a second in which nothing is stored: the commit that fails turns away the
	// small changes that would have fitted.
	firstPause   = 10 * time.Second
	longestPause = 15 * time.Minute
)

// pause is how long to wait before the next try: longer after each that fails.
type pause struct {
	until time.Time
	next  time.Duration
}

// lackRoom begins a pause, unless there is one.
func (b *blobs) lackRoom(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.noRoom.until) {
		return // of the same try
	}
	wait := max(b.noRoom.next, firstPause)
	b.noRoom = pause{until: now.Add(wait), next: min(2*wait, longestPause)}
}

// hasRoom reports whether there is no pause.
func (b *blobs) hasRoom(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !now.Before(b.noRoom.until)
}

// roomCame ends the pause: somebody has made room on a disk that took nothing.
func (b *blobs) roomCame() {
	b.mu.Lock()
	b.noRoom.until = time.Time{}
	b.mu.Unlock()
	b.fetchSoon()
}

// fitted has the next pause be a short one: all that was fetched could be stored.
func (b *blobs) fitted() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noRoom.next = 0
}
