package filestore_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// A downloader loses power again and again, within writes, syncs, commits of its
// records, links and the opening of what is left: no piece is claimed that is not
// on disk, none is lost that the journal had, at most 16 MiB are written twice,
// and the file is right in the end.
func TestPowerCuts(t *testing.T) { powerCuts(t, 20) }

func TestLongPowerCuts(t *testing.T) {
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("takes a minute: run it with make long")
	}
	powerCuts(t, 200)
}

func powerCuts(t *testing.T, cuts int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	content := random(52*protocol.PieceLength+1000, 5)
	m := newMachine(t, t.TempDir(), content, seed)
	had := map[int]bool{} // pieces that were written when the power went
	finished, most := 0, 0
	for cut := 0; cut < cuts; cut++ {
		p, err := m.boot(t, 1+m.rng.IntN(90))
		var said bool
		if err == nil {
			lost := m.compare(t, p, had)
			most = max(most, lost)
			said = m.download(t, p)
			had = m.pieces(p)
			_ = p.Close() // without power that says so
		} else if !m.isOff() {
			t.Fatalf("life %d: %v", m.life, err)
		}
		if !m.isOff() { // it was through before
			m.mu.Lock()
			m.left = 0
			m.mu.Unlock()
			cut--
		}
		m.down(t)
		if said || m.safe.names[m.target.Name] {
			if !bytes.Equal(m.safe.bytes, content) || !m.safe.sized || !m.safe.names[m.target.Name] {
				t.Errorf("life %d: the file under its final name is wrong (names %v)", m.life, m.safe.names)
			}
		}
		if said {
			finished++
			m.forget()
			had = map[int]bool{}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d cuts, %d files finished; at most %d KiB were written twice", cuts, finished, most*protocol.PieceLength>>10)
	if most*protocol.PieceLength > 16<<20 {
		t.Errorf("%d KiB were written twice", most*protocol.PieceLength>>10)
	}
	if finished == 0 || most == 0 {
		t.Errorf("%d files were finished and %d pieces lost: nothing was tried", finished, most)
	}
}

// compare checks what a new life claims, and counts the pieces of the one before
// that are gone.
func (m *machine) compare(t *testing.T, p *filestore.Partial, had map[int]bool) (lost int) {
	t.Helper()
	if err := haveIsTrue(p, m.content); err != nil {
		t.Fatalf("life %d: %v", m.life, err)
	}
	_, bits := p.Have()
	journal, err := m.Load()
	check(t, err)
	for i := range m.m.Pieces {
		if journal != nil && hasBit(journal, i) && !hasBit(bits, i) {
			t.Fatalf("life %d: piece %d is in the journal and not there", m.life, i)
		}
		if had[i] && !hasBit(bits, i) {
			lost++
		}
	}
	return lost
}

func (m *machine) pieces(p *filestore.Partial) map[int]bool {
	_, bits := p.Have()
	have := map[int]bool{}
	for i := range m.m.Pieces {
		if hasBit(bits, i) {
			have[i] = true
		}
	}
	return have
}

// download writes what is missing, as a swarm does, until the file is finished
// or the power goes.
func (m *machine) download(t *testing.T, p *filestore.Partial) (finished bool) {
	t.Helper()
	for {
		have := m.pieces(p)
		work := make(chan int, len(m.m.Pieces))
		m.mu.Lock()
		order := m.rng.Perm(len(m.m.Pieces))
		m.mu.Unlock()
		for _, i := range order {
			if !have[i] {
				work <- i
			}
		}
		close(work)
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for i := range work {
					if v, err := p.WritePiece(i, piece(m.m, m.content, i)); err != nil && !m.isOff() || err == nil && v != filestore.Good {
						t.Errorf("life %d: WritePiece(%d) = %v, %v", m.life, i, v, err)
					}
				}
			})
		}
		workers.Wait()
		path, _, missing, err := p.Finish(t.Context())
		if err == nil && len(missing) == 0 {
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, m.content) {
				t.Errorf("life %d: the finished file is wrong (%v)", m.life, err)
			}
			return true
		}
		if m.isOff() {
			return false
		}
		if err != nil {
			t.Fatalf("life %d: Finish: %v", m.life, err)
		}
	}
}
