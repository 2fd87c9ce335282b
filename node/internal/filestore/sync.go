package filestore

import (
	"fmt"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// syncBytes is how much is written before a sync begins: 16 pieces of an
	// ordinary file.
	syncBytes = 8 << 20
	// volatileBytes is how much may be written and not durable: what a loss of
	// power may cost. While one half of it is synced the other is written; on a
	// disk that is slower than the network the network waits. It is two pieces
	// where pieces are that large.
	volatileBytes = 16 << 20
	// journalBytes is how much is synced before it is recorded. A record takes as
	// long as a sync, which has to wait meanwhile. What is synced and not recorded is
	// looked at once more after a crash, in a tenth of a second, and not fetched again.
	journalBytes = 64 << 20
	// syncPace is how long a piece waits for others before it is synced and
	// recorded, and how long a failed sync waits before it is tried again.
	syncPace = 2 * time.Second
)

// syncer makes verified pieces durable: first the data, then the journal. One
// goroutine does so and owns saved, unrecorded and doubtful.
type syncer struct {
	part    *Partial
	journal Journal
	batch   int // pieces between two syncs
	records int // pieces between two records

	saved      bitfield // as in the journal; nil if nothing is known of it
	unrecorded int      // pieces that were synced since
	// doubtful is set when a sync has failed, or may have in an earlier run: the
	// system may hold as clean what never reached the disk.
	doubtful bool

	urgent chan struct{}   // a batch is full; holds one
	soon   chan struct{}   // a piece waits; holds one
	calls  chan chan error // wishes for a flush now
	stop   chan struct{}
	ended  chan struct{}
}

// begin starts the goroutine. saved is what the journal holds; other pieces may
// have been read back from memory alone, so they are written once more.
func (s *syncer) begin(p *Partial, j Journal, saved bitfield) {
	*s = syncer{
		part: p, journal: j, saved: saved,
		batch:   int(max(1, syncBytes/p.manifest.PieceLength)),
		records: int(max(1, journalBytes/p.manifest.PieceLength)),
		urgent:  make(chan struct{}, 1), soon: make(chan struct{}, 1),
		calls: make(chan chan error), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	if have, _ := p.pieces.snapshot(); !have.equal(saved) {
		s.doubtful = have.exceeds(saved)
		s.poke(1)
	}
	go s.run()
}

// end stops the goroutine and waits for it, without another flush.
func (s *syncer) end() {
	close(s.stop)
	<-s.ended
}

// poke tells that so many pieces wait. It never blocks.
func (s *syncer) poke(unsynced int) {
	wake := s.soon
	if unsynced >= s.batch {
		wake = s.urgent
	}
	select {
	case wake <- struct{}{}:
	default: // told already
	}
}

// flush makes everything written before the call durable.
func (s *syncer) flush() error {
	answer := make(chan error, 1)
	s.calls <- answer
	return <-answer
}

func (s *syncer) run() {
	defer close(s.ended)
	timer := time.NewTimer(syncPace)
	timer.Stop()
	defer timer.Stop()
	armed := false
	for {
		var err error
		select {
		case <-s.stop:
			return
		case <-s.soon:
			if !armed {
				timer.Reset(syncPace)
				armed = true
			}
			continue
		case <-s.urgent:
			err = s.write(false)
		case <-timer.C:
			err = s.write(true)
		case answer := <-s.calls:
			err = s.write(true)
			answer <- err
		}
		timer.Stop()
		if err != nil {
			log.Errorw("pieces cannot be made durable, trying again", "file", protocol.Printable(s.part.manifest.Name), "err", err)
		}
		if armed = err != nil || s.unrecorded > 0; armed {
			timer.Reset(syncPace)
		}
	}
}

// write makes a snapshot of the verified pieces durable, and records it at once
// or when there is enough to record.
func (s *syncer) write(record bool) error {
	pieces := s.part.pieces
	if s.doubtful {
		if err := s.rewrite(); err != nil {
			pieces.settle(0, err)
			return err
		}
	}
	have, waiting := pieces.take()
	if s.saved != nil && have.equal(s.saved) {
		pieces.settle(waiting, nil)
		return nil
	}
	if err := s.part.data.Sync(); err != nil {
		s.doubtful = true
		err = LocalFault(err, "writing", s.part.partPath())
		pieces.settle(waiting, err)
		return err
	}
	s.doubtful = false
	pieces.settle(waiting, nil) // others may be written while this is recorded
	if s.unrecorded += waiting; !record && s.unrecorded < s.records {
		return nil
	}
	err := s.save(have)
	if err != nil {
		pieces.settle(0, err)
	}
	return err
}

func (s *syncer) save(have bitfield) error {
	if err := s.journal.Save(have.clone()); err != nil {
		return journalFault(err, s.part.partPath())
	}
	s.saved, s.unrecorded = have, 0
	return nil
}

func journalFault(err error, part string) error {
	return LocalFault(fmt.Errorf("journal: %w", err), "recording the progress of", part)
}

// rewrite writes the pieces that are not journaled once more: after a failed
// sync the system may hold them as clean though they never reached the disk.
// Those that do not read back as they were are missing again. E_DISK_FULL leaves
// the others as they are, to be written when there is room: what was just read
// back, and is written over by the same bytes, is not lost by that.
func (s *syncer) rewrite() error {
	p := s.part
	var lost []int
	defer func() { s.lose(lost) }()
	have, _ := p.pieces.snapshot()
	buf := make([]byte, p.manifest.PieceLength)
	for i := range p.manifest.Pieces {
		if !have.has(i) || s.saved != nil && s.saved.has(i) {
			continue
		}
		piece, off := buf[:p.manifest.PieceSize(i)], p.manifest.PieceOffset(i)
		if _, err := p.data.ReadAt(piece, off); err != nil || judgeBytes(piece, p.manifest.Pieces[i]) != Good {
			log.Errorw("a written piece is lost", "file", protocol.Printable(p.manifest.Name), "piece", i, "err", err)
			lost = append(lost, i)
			continue
		}
		if _, err := p.data.WriteAt(piece, off); isDiskFull(err) {
			return LocalFault(err, "writing", p.partPath())
		} else if err != nil {
			lost = append(lost, i) // it may be torn now
		}
	}
	return nil
}

// lose takes back pieces, and tells whoever fetches: once, since each time it
// begins anew.
func (s *syncer) lose(pieces []int) {
	if len(pieces) == 0 {
		return
	}
	s.part.pieces.remove(pieces...)
	select {
	case s.part.lost <- struct{}{}:
	default: // told already
	}
}
