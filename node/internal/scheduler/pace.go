package scheduler

import (
	"math"
	"time"
)

const (
	// minWindow keeps a peer busy while the answer to the last piece is on its way.
	minWindow = 2
	// maxWindow is what a seeder queues of one stream.
	maxWindow = 64
	// minRTT stands for the time that goroutines and loops of both ends take
	// between a piece and the next request: on a fast local network it, and not
	// the wire, decides how much must be asked ahead.
	minRTT = 4 * time.Millisecond
	// risen is how much faster a round must be than the one that last made the
	// window grow.
	risen = 1.05
	// guess is the time for one piece that a peer without history is given.
	guess = time.Second
	// fullRound ends the measurement of a peer that sends slowly.
	fullRound = time.Second
)

// pace measures how fast a peer delivers and derives how much it may be asked
// for ahead. Rates are over rounds: a window of pieces, or a second.
type pace struct {
	window int
	rate   float64 // bytes per second; zero until the first round is over
	grown  float64 // rate when the window last grew
	rtt    time.Duration
	// progress is when it last delivered, or became busy.
	progress   time.Duration
	roundStart time.Duration
	roundBytes int64
	roundCount int
}

func newPace() pace { return pace{window: minWindow} }

// begin tells that the peer was idle and now has something to do.
func (c *pace) begin(now time.Duration) {
	c.progress = now
	c.roundStart, c.roundBytes, c.roundCount = now, 0, 0
}

// arrived tells of a piece; idle, that nothing else was asked for.
func (c *pace) arrived(now time.Duration, size, length int64, idle bool) {
	c.progress = now
	if size < length {
		return // a short last piece tells of the way, not of the rate
	}
	c.roundBytes += size
	c.roundCount++
	took := now - c.roundStart
	if took <= 0 || !idle && c.roundCount < c.window && took < fullRound {
		return
	}
	sample := float64(c.roundBytes) / took.Seconds()
	if c.rate == 0 {
		c.rate = sample
	} else {
		c.rate = (c.rate + sample) / 2
	}
	c.roundStart, c.roundBytes, c.roundCount = now, 0, 0
	c.resize(length)
}

// resize aims at twice the bytes that are on their way at this rate. It grows
// only while the rate rises, at most doubling, and shrinks one by one.
func (c *pace) resize(length int64) {
	ahead := 2 * c.rate * max(c.rtt, minRTT).Seconds() / float64(length)
	aim := int(math.Ceil(min(max(ahead, minWindow), maxWindow)))
	switch {
	case aim > c.window && c.rate > risen*c.grown:
		c.window = min(aim, 2*c.window)
		c.grown = c.rate
	case aim < c.window:
		c.window--
		c.grown = min(c.grown, c.rate)
	}
}

// small is the window for pieces that nobody else has: enough to keep the
// peer busy, while the rest may soon be had from others.
func (c *pace) small() int { return max(minWindow, (c.window+1)/2) }

// perPiece is how long it takes for a piece, from its history.
func (c *pace) perPiece(length int64) time.Duration {
	if c.rate == 0 {
		return guess
	}
	return time.Duration(float64(length) / c.rate * float64(time.Second))
}

// slowed corrects the history of a peer that takes longer than that for a piece.
func (c *pace) slowed(now time.Duration, length int64) {
	if late := now - c.progress; late > c.perPiece(length) {
		c.rate = float64(length) / late.Seconds()
	}
}

// remaining estimates when the request with this many before it is answered.
// A peer that is late is expected to be late by as much again.
func (c *pace) remaining(now time.Duration, before int, length int64) time.Duration {
	each, since := c.perPiece(length), now-c.progress
	return (each - since).Abs() + time.Duration(before)*max(each, since)
}
