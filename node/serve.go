package node

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/gate"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// admitWait is how long a stream may wait for word that its user has just
	// become a member; less than protocol.OpenTimeout, so that it gets an answer.
	admitWait = 2 * time.Second
	// idleClose is how long a shared file stays open after the last read: with
	// thousands of shares not all can.
	idleClose = time.Minute
)

// share is a file that the user shares from this client. It is opened when
// somebody asks for it.
type share struct {
	account *account
	key     fileKey

	mu      sync.Mutex
	rec     records.Share
	orig    *filestore.Original
	readers int // reads under way
	used    time.Time
	tries   int // to make the tracker that holds the lease know the share
}

func newShare(a *account, r records.Share) *share {
	return &share{account: a, key: fileKey{r.Group, r.File}, rec: r}
}

func (s *share) record() records.Share {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec
}

// again allows the tries of a new push stream.
func (s *share) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries = 0
}

// withdraw marks the share as ended; false if it is so already.
func (s *share) withdraw(why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec.Withdrawn != "" {
		return false
	}
	s.rec.Withdrawn = why
	return true
}

// intact returns nil if the file on disk is the one that was hashed.
func (s *share) intact() error {
	r := s.record()
	o, err := filestore.OpenOriginal(r.Path, r.Stamp, &protocol.Manifest{Size: r.Size})
	if err != nil {
		return err
	}
	return o.Close()
}

// acquire opens the file if need be; release must follow.
func (s *share) acquire() (*filestore.Original, error) {
	s.mu.Lock()
	r, o := s.rec, s.orig
	if o != nil && r.Withdrawn == "" {
		s.readers++
	}
	s.mu.Unlock()
	switch {
	case r.Withdrawn != "":
		return nil, protocol.Errorf(protocol.CodeNotFound, "the file is not shared any more")
	case o != nil:
		return o, nil
	}
	m, err := s.account.node.storedManifest(s.key.file)
	if err != nil {
		return nil, err
	}
	if o, err = filestore.OpenOriginal(r.Path, r.Stamp, m); err != nil {
		return nil, err
	}
	s.mu.Lock()
	other := s.orig
	if other == nil {
		s.orig = o
	}
	s.readers++
	s.mu.Unlock()
	if other != nil { // somebody was faster
		_ = o.Close()
		return other, nil
	}
	return o, nil
}

func (s *share) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers--
	s.used = time.Now()
}

// closeIdle closes the file if nobody has read it for a while, or at once.
func (s *share) closeIdle(atOnce bool) {
	s.mu.Lock()
	o := s.orig
	if o == nil || s.readers > 0 || !atOnce && time.Since(s.used) < idleClose {
		s.mu.Unlock()
		return
	}
	s.orig = nil
	s.mu.Unlock()
	if err := o.Close(); err != nil {
		log.Infow("cannot close a shared file", "file", s.key.file, "err", err)
	}
}

// storedManifest reads a manifest that this client keeps.
func (n *Node) storedManifest(f protocol.FileID) (*protocol.Manifest, error) {
	b, err := n.records.Manifest(f)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, protocol.Errorf(protocol.CodeNotFound, "the records lack the description of a file; share or fetch it again")
	}
	return protocol.DecodeManifest(b)
}

// admit is what the piece server asks before it says anything about a file.
func (n *Node) admit(ctx context.Context, remote peer.ID, ticket []byte, file protocol.FileID) (gate.Grant, piece.Content, error) {
	ctx, cancel := context.WithTimeout(ctx, admitWait)
	defer cancel()
	a, err := n.current()
	if err != nil {
		return gate.Grant{}, nil, notShared()
	}
	// Just after the start members may be told where this client is before it
	// has heard who the members are.
	select {
	case <-a.known:
	case <-ctx.Done():
		return gate.Grant{}, nil, notShared()
	}
	grant, err := n.gate.Admit(ctx, remote, ticket, n.trackers.Now())
	if err != nil {
		return gate.Grant{}, nil, err
	}
	c := &served{account: a, key: fileKey{grant.Group, file}, grant: grant}
	if err := c.begin(); err != nil {
		log.Debugw("refused", "peer", remote, "file", file, "err", err)
		return gate.Grant{}, nil, notShared()
	}
	return grant, c, nil
}

// notShared is the one answer for what is not shared here, for whatever reason.
func notShared() error {
	return protocol.Errorf(protocol.CodeNotMember, "the peer is not admitted")
}

// served is a file of a group as one stream sees it: while it grows, and after
// it has become a share. It implements piece.Content.
type served struct {
	account  *account
	key      fileKey
	grant    gate.Grant
	manifest *protocol.Manifest
}

// begin fails unless there is something to serve.
func (c *served) begin() error {
	if part := c.part(); part != nil {
		c.manifest = part.Manifest()
		return nil
	}
	s := c.account.share(c.key)
	if s == nil {
		return notShared()
	}
	o, err := s.acquire()
	if err != nil {
		c.account.unreadable(s, err)
		return err
	}
	defer s.release()
	c.manifest = o.Manifest()
	return nil
}

// part returns the growing file, nil if it does not grow (any more).
func (c *served) part() *filestore.Partial {
	if d := c.account.download(c.key); d != nil {
		return d.growing()
	}
	return nil
}

// Manifest returns the description of the file.
func (c *served) Manifest() *protocol.Manifest { return c.manifest }

// Have returns the pieces that may be served now.
func (c *served) Have() (complete bool, bits []byte) {
	if part := c.part(); part != nil {
		return part.Have()
	}
	if s := c.account.share(c.key); s != nil && s.record().Withdrawn == "" {
		return true, nil
	}
	return false, make([]byte, (len(c.manifest.Pieces)+7)/8) // the growing file was closed a moment ago
}

// Subscribe calls f for each further piece.
func (c *served) Subscribe(f func(piece int)) (cancel func()) {
	if part := c.part(); part != nil {
		return part.Subscribe(f)
	}
	return func() {}
}

// ReadAt reads as long as the stream may go on: a removal between the opening
// of a stream and its being known to the server must not slip through.
func (c *served) ReadAt(p []byte, off int64) (int, error) {
	n := c.account.node
	grant, now := c.grant, n.trackers.Now()
	grant.TicketEnd = now // whether the ticket is over is the server's to see: it knows of renewals
	if c.account.ctx.Err() != nil || !n.gate.Allows(grant, now) {
		return 0, notShared()
	}
	if part := c.part(); part != nil {
		if read, err := part.ReadAt(p, off); err == nil || c.part() != nil {
			return read, err
		}
		// It was closed between the two looks, because it is a share now.
	}
	s := c.account.share(c.key)
	if s == nil {
		return 0, notShared()
	}
	o, err := s.acquire()
	if err != nil {
		c.account.unreadable(s, err)
		return 0, err
	}
	defer s.release()
	read, err := o.ReadAt(p, off)
	if changed := protocol.CodeOf(err); changed == protocol.CodeSourceChanged || changed == protocol.CodeNotFound {
		c.account.unreadable(s, err)
	}
	return read, err
}

// unreadable withdraws a share whose file cannot be served any more. A fault
// that may pass, such as too many open files, does not end it.
func (a *account) unreadable(s *share, why error) {
	if !filestore.IsGone(why) {
		log.Errorw("a shared file cannot be read now", "file", s.key.file, "err", why)
		return
	}
	a.spawn(func() { a.withdraw(why.Error(), s) })
}

// lookAtShares compares shared files with what was hashed: once at the
// beginning, then at a slow pace. Before a piece is sent it is done anyhow.
func (a *account) lookAtShares() {
	tick := time.NewTicker(lookPace)
	defer tick.Stop()
	for {
		for _, s := range a.allShares() {
			if a.ctx.Err() != nil {
				return
			}
			s.closeIdle(false)
			if s.record().Withdrawn != "" {
				continue
			}
			if err := s.intact(); filestore.IsGone(err) {
				a.withdraw(err.Error(), s)
			}
		}
		select {
		case <-tick.C:
		case <-a.ctx.Done():
			return
		}
	}
}
