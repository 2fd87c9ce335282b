package scheduler

// flights is what is on its way.
type flights struct {
	budget int64
	// bytes counts requests that are not answered, cancelled ones too, and
	// pieces that are being verified.
	bytes   int64
	wasted  int64 // received and thrown away
	refused bool  // the budget kept the last step from asking for more
	byPiece map[int][]*request
}

// allows reports whether size more bytes may be in flight. One piece always
// may, unless the budget is zero.
func (f *flights) allows(size int64) bool {
	return f.budget > 0 && (f.bytes == 0 || f.bytes+size <= f.budget)
}

// live counts the requests for a piece that were not taken back.
func (f *flights) live(piece int) int {
	n := 0
	for _, r := range f.byPiece[piece] {
		if r.live() {
			n++
		}
	}
	return n
}

// ask requests a piece of a peer.
func (s *Scheduler) ask(p *remote, piece int) {
	if len(p.out) == 0 {
		p.pace.begin(s.now)
	}
	s.leaveWanted(piece, requested)
	r := &request{piece: piece, from: p, reclaimed: notYet, cancelled: notYet}
	p.out = append(p.out, r)
	s.flights.byPiece[piece] = append(s.flights.byPiece[piece], r)
	s.flights.bytes += s.pieces.bytes(piece)
	s.emit(Fetch{Peer: p.id, Piece: piece})
}

// reclaim takes a request back without giving it up: the piece comes all the
// same if it is under way, and is wanted again when the peer says that it is
// not. So it never comes twice.
func (s *Scheduler) reclaim(r *request) {
	if r.reclaimed == notYet {
		r.reclaimed = s.now
		s.emit(Reclaim{Peer: r.from.id, Piece: r.piece})
	}
}

// cancel gives a request up. It stays in flight until it is answered.
func (s *Scheduler) cancel(r *request) {
	r.cancelled = s.now
	s.emit(CancelFetch{Peer: r.from.id, Piece: r.piece})
	s.missed(r.piece)
}

// answered forgets a request.
func (s *Scheduler) answered(r *request) {
	r.from.out = without(r.from.out, r)
	if rest := without(s.flights.byPiece[r.piece], r); len(rest) > 0 {
		s.flights.byPiece[r.piece] = rest
	} else {
		delete(s.flights.byPiece, r.piece)
	}
	s.flights.bytes -= s.pieces.bytes(r.piece)
	s.missed(r.piece)
}

// missed makes a piece wanted that nobody is asked for any more.
func (s *Scheduler) missed(piece int) {
	if s.pieces.status[piece] == requested && s.flights.live(piece) == 0 {
		s.want(piece)
	}
}

func without(list []*request, r *request) []*request {
	for i, q := range list {
		if q == r {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}
