package trackers

import (
	"cmp"
	"encoding/binary"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// tracker is one tracker. The fields behind the blank line belong to known.mu.
type tracker struct {
	address string // as a person knows it
	entry   roster.Entry
	listed  bool
	rank    uint64 // which is tried first; depends on this client's id

	id        peer.ID // empty until the tracker has been confirmed
	pinLine   int     // in the pin file; 0 if the list has the id
	addrs     []ma.Multiaddr
	rpc       pb.TrackerServiceClient
	transport *http.Transport
	heard     time.Time // the last sign of life
	cool      time.Time // tried last until then
	declined  bool      // the user did not confirm it
}

// known is the list of trackers: those of the file, and those they told of.
type known struct {
	client *Client

	mu      sync.Mutex
	list    []*tracker // listed ones in the order of the file, then learned ones
	named   map[peer.ID]map[peer.ID]bool
	network protocol.NetworkID // of the trackers; zero until one has said
}

func (k *known) init(c *Client, pins map[string]pin, learned map[string][]string) {
	k.client = c
	k.named = map[peer.ID]map[peer.ID]bool{}
	for _, e := range c.cfg.Entries {
		t := &tracker{address: e.Text, entry: e, listed: true, rank: k.rankOf(e.Addr.String()), addrs: e.Addrs(), id: e.ID}
		if p, ok := pins[e.Text]; ok && e.ID == "" {
			t.id, t.pinLine = p.id, p.line
		}
		k.list = append(k.list, t)
	}
	for text, addrs := range learned {
		if id, err := peer.Decode(text); err == nil && k.byID(id) == nil {
			k.add(id, addrs)
		}
	}
}

// rankOf is a rendezvous hash: each client has its own order, and clients spread.
func (k *known) rankOf(key string) uint64 {
	h := blake3.Sum256([]byte(string(k.client.cfg.Host.ID()) + "\x00" + key))
	return binary.BigEndian.Uint64(h[:])
}

// add appends a learned tracker, unless none of its addresses is one. mu is
// held, or nobody else knows k yet.
func (k *known) add(id peer.ID, texts []string) *tracker {
	addrs := parseAddrs(texts)
	if len(addrs) == 0 {
		return nil
	}
	t := &tracker{
		address: addrs[0].String() + "/p2p/" + id.String(), rank: k.rankOf(id.String()), id: id, addrs: addrs,
	}
	k.list = append(k.list, t)
	return t
}

func parseAddrs(texts []string) []ma.Multiaddr {
	var addrs []ma.Multiaddr
	for _, text := range texts[:min(len(texts), 2*protocol.MaxAddrs)] {
		if a, err := ma.NewMultiaddr(text); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

func (k *known) byID(id peer.ID) *tracker {
	i := slices.IndexFunc(k.list, func(t *tracker) bool { return t.id == id })
	if i < 0 {
		return nil
	}
	return k.list[i]
}

func (k *known) trusted(id peer.ID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return id != "" && k.byID(id) != nil
}

// all returns the trackers in the order of the list, learned ones behind.
func (k *known) all() []*tracker {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.list)
}

// candidates returns the trackers in the order in which to try them: first
// the one given, then listed ones, learned ones, those without a confirmed id,
// and last those that failed a moment ago.
func (k *known) candidates(first *tracker, now time.Time) []*tracker {
	k.mu.Lock()
	defer k.mu.Unlock()
	class := func(t *tracker) int {
		switch {
		case now.Before(t.cool):
			return 4
		case t == first:
			return 0
		case t.id == "":
			return 3
		case t.listed:
			return 1
		default:
			return 2
		}
	}
	order := slices.Clone(k.list)
	slices.SortStableFunc(order, func(a, b *tracker) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), cmp.Compare(a.rank, b.rank))
	})
	return order
}

func (k *known) hear(t *tracker, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t.heard, t.cool = now, time.Time{}
}

// fail makes t be tried last for a while, and its streams not be used again.
func (k *known) fail(t *tracker, now time.Time) {
	k.mu.Lock()
	t.heard, t.cool = time.Time{}, now.Add(coolDown)
	transport := t.transport
	k.mu.Unlock()
	if transport != nil {
		transport.CloseIdleConnections()
	}
}

// fresh reports whether t was heard so lately that it needs no hello.
func (k *known) fresh(t *tracker, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return t.rpc != nil && now.Sub(t.heard) < protocol.PushSilence
}

// silent returns for how long nothing was heard of t.
func (k *known) silent(t *tracker, now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return now.Sub(t.heard)
}

// identity returns what k knows of who t is and where.
func (k *known) identity(t *tracker) (id peer.ID, pinLine int, addrs []ma.Multiaddr, declined bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return t.id, t.pinLine, t.addrs, t.declined
}

// confirmed sets the id of a tracker listed without one.
func (k *known) confirmed(t *tracker, id peer.ID, pinLine int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t.id, t.pinLine = id, pinLine
	// What was a learned tracker before is the listed one now.
	k.list = slices.DeleteFunc(k.list, func(o *tracker) bool { return o != t && o.id == id && !o.listed })
}

func (k *known) decline(t *tracker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t.declined = true
}

// learn takes what the tracker t said of the network's trackers. Only listed
// ones can add trackers, and one that they no longer name is forgotten: a push
// stream there ends.
func (k *known) learn(t *tracker, infos []*pb.TrackerInfo) {
	if !t.listed || len(infos) == 0 || len(infos) > protocol.MaxElements {
		return
	}
	k.mu.Lock()
	names := map[peer.ID]bool{}
	changed := false
	var idle []*http.Transport
	for _, info := range infos {
		id, err := peer.Decode(info.GetPeerId())
		if err != nil || id == k.client.cfg.Host.ID() {
			continue
		}
		names[id] = true
		was := k.byID(id)
		switch {
		case was == nil:
			changed = k.add(id, info.GetAddrs()) != nil || changed
		case !was.listed:
			if addrs := parseAddrs(info.GetAddrs()); len(addrs) > 0 && !slices.EqualFunc(addrs, was.addrs, ma.Multiaddr.Equal) {
				was.addrs, changed = addrs, true
			}
		}
	}
	before, again := k.named[t.id]
	kept := k.list[:0:0]
	dropped := false
	for _, o := range k.list {
		if !o.listed && !names[o.id] && (!again || before[o.id]) {
			log.Infow("tracker is not named any more", "tracker", o.address)
			dropped = true
			if o.transport != nil {
				idle = append(idle, o.transport)
			}
			continue
		}
		kept = append(kept, o)
	}
	k.list, k.named[t.id] = kept, names
	remember := k.learned()
	k.mu.Unlock()
	if !changed && !dropped {
		return
	}
	for _, transport := range idle {
		transport.CloseIdleConnections()
	}
	if dropped {
		nudge(k.client.wake) // the push stream may be at one of them
	}
	if err := k.client.cfg.Store.SetLearned(remember); err != nil {
		log.Errorw("cannot remember the network's trackers", "err", err)
	}
}

// learned returns the trackers that are not listed, as they are remembered. mu is held.
func (k *known) learned() map[string][]string {
	m := map[string][]string{}
	for _, t := range k.list {
		if !t.listed {
			for _, a := range t.addrs {
				m[t.id.String()] = append(m[t.id.String()], a.String())
			}
		}
	}
	return m
}

// close ends the streams that no call uses.
func (k *known) close() {
	for _, t := range k.all() {
		k.mu.Lock()
		transport := t.transport
		k.mu.Unlock()
		if transport != nil {
			transport.CloseIdleConnections()
		}
	}
}
