package replica

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// leafFacts is from how many facts on a node is compared by its digests
	// rather than by the stamps of its facts.
	leafFacts = 200
	// askPrefixes is how many nodes are asked for at a time: 16 children of each
	// stay below protocol.MaxElements.
	askPrefixes = 60
	// pullFacts is how many facts one comparison by stamps, and the commit at its
	// end, are about. Keys of one node are all over the store, so that each commit
	// writes most of its pages: many small ones would write it many times.
	pullFacts = 8_000
	// pullBytes bounds the values held in memory before they are committed.
	pullBytes = 16 << 20
)

// greet asks for the root of a tracker, which begins a round. The greeting
// makes the other side begin one too if the roots differ.
func (r *Replica) greet(ctx context.Context, l *link) (catalog.Node, *pb.SyncHello, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	var reply *pb.SyncReply
	mark := r.proofs.mark()
	err := r.call(ctx, l, &pb.SyncRequest{Body: &pb.SyncRequest_GetDigests{GetDigests: &pb.GetDigests{}}},
		func(got *pb.SyncReply) error { reply = got; return nil })
	if err != nil {
		return catalog.Node{}, nil, err
	}
	roots, err := readNodes(reply, nil)
	if err != nil || len(roots) != 1 {
		return catalog.Node{}, nil, errReply
	}
	if missing := reply.GetHello().GetMissing(); roots[0].Digest == r.storedRoot() && !reply.GetHello().GetLeaving() &&
		(len(missing) == 0 || bytes.Equal(missing, r.blobs.missingDigest())) {
		r.proofs.equal(mark)
	}
	return roots[0], reply.GetHello(), nil
}

// round takes over what a tracker has and this one lacks, and its presence if
// some was missed. Each side pulls.
func (r *Replica) round(ctx context.Context, l *link, root catalog.Node, hello *pb.SyncHello) error {
	theirs, err := helloNetwork(hello)
	if err != nil {
		return err
	}
	if theirs.IsZero() {
		return nil // it is blank: there is nothing to learn, and it fetches by itself
	}
	undone := r.Undone()
	if err := r.pull(ctx, l, root); err != nil {
		return err
	}
	l.mu.Lock()
	l.inStep = time.Now()
	l.mu.Unlock()
	if r.Network().IsZero() {
		if err := r.adopt(ctx, theirs, r.nothingUndone(undone)); err != nil {
			return err
		}
		r.found(l)
	}
	return r.pullPresence(ctx, l, hello)
}

// pull walks down the other side's digest tree where it differs from ours, and
// takes the facts of nodes that are small enough.
func (r *Replica) pull(ctx context.Context, l *link, root catalog.Node) error {
	level := []catalog.Node{root}
	for len(level) > 0 {
		var inner [][]byte
		var leaves []catalog.Node
		for _, n := range r.unequal(level) {
			if n.Facts <= leafFacts || len(n.Prefix) == catalog.MaxDepth {
				leaves = append(leaves, n)
			} else {
				inner = append(inner, []byte(n.Prefix))
			}
		}
		if err := r.pullLeaves(ctx, l, leaves); err != nil {
			return err
		}
		level = level[:0]
		for len(inner) > 0 {
			n := min(askPrefixes, len(inner))
			nodes, err := r.children(ctx, l, inner[:n])
			if err != nil {
				return err
			}
			level, inner = append(level, nodes...), inner[n:]
		}
	}
	return nil
}

// unequal returns those of the other side's nodes whose digest is not ours.
func (r *Replica) unequal(nodes []catalog.Node) (out []catalog.Node) {
	r.state.mu.RLock()
	defer r.state.mu.RUnlock()
	for _, n := range nodes {
		if r.node(n.Prefix).Digest != n.Digest {
			out = append(out, n)
		}
	}
	return out
}

// node returns our node of a prefix, under the lock of the caller.
func (r *Replica) node(prefix string) catalog.Node {
	if prefix == "" {
		return r.rootNode()
	}
	for _, n := range r.state.cat.Children(prefix[:len(prefix)-1]) {
		if n.Prefix == prefix {
			return n
		}
	}
	return catalog.Node{Prefix: prefix}
}

// rootNode is the node of all that is on disk, under the lock of the caller.
func (r *Replica) rootNode() catalog.Node {
	n := r.state.cat.Root()
	n.Digest = r.state.root
	return n
}

func (r *Replica) children(ctx context.Context, l *link, prefixes [][]byte) (nodes []catalog.Node, err error) {
	req := &pb.SyncRequest{Body: &pb.SyncRequest_GetDigests{GetDigests: &pb.GetDigests{Prefixes: prefixes}}}
	err = r.call(ctx, l, req, func(reply *pb.SyncReply) error {
		nodes, err = readNodes(reply, prefixes)
		return err
	})
	return nodes, err
}

// readNodes checks that the nodes are children of those asked for, or the root.
func readNodes(reply *pb.SyncReply, parents [][]byte) ([]catalog.Node, error) {
	asked := map[string]bool{}
	for _, p := range parents {
		asked[string(p)] = true
	}
	in := reply.GetDigests().GetNodes()
	if len(in) > protocol.MaxElements {
		return nil, errReply
	}
	out := make([]catalog.Node, 0, len(in))
	for _, n := range in {
		p := string(n.GetPrefix())
		isRoot := len(parents) == 0 && p == ""
		isChild := p != "" && len(p) <= catalog.MaxDepth && p[len(p)-1] < 16 && asked[p[:len(p)-1]]
		if !isRoot && !isChild || len(n.GetDigest()) != len(catalog.Digest{}) {
			return nil, errReply
		}
		out = append(out, catalog.Node{Prefix: p, Digest: catalog.Digest(n.GetDigest()), Facts: int(n.GetFacts())})
	}
	return out, nil
}

// pullLeaves compares nodes by stamps, as many at a time as makes a good request.
func (r *Replica) pullLeaves(ctx context.Context, l *link, leaves []catalog.Node) error {
	for len(leaves) > 0 {
		n, facts := 0, 0
		for n < len(leaves) && n < protocol.MaxElements && (n == 0 || facts+leaves[n].Facts <= pullFacts) {
			facts += leaves[n].Facts
			n++
		}
		if err := r.pullLeaf(ctx, l, leaves[:n]); err != nil {
			return err
		}
		leaves = leaves[n:]
	}
	return nil
}

// pullLeaf takes the facts of whole nodes, in one commit.
func (r *Replica) pullLeaf(ctx context.Context, l *link, nodes []catalog.Node) error {
	prefixes := make([][]byte, len(nodes))
	for i, n := range nodes {
		prefixes[i] = []byte(n.Prefix)
	}
	keys, same, err := r.compare(ctx, l, prefixes, false)
	if err != nil {
		return err
	}
	if len(keys) == 0 && same == r.countUnder(prefixes) {
		// Key and stamp of all are the same, so it is a value that differs.
		if keys, _, err = r.compare(ctx, l, prefixes, true); err != nil {
			return err
		}
	}
	return r.fetch(ctx, l, keys)
}

// compare lists the other side's facts below some nodes. It returns the keys of
// those that may be news here, or all keys, and how many are known as they are.
func (r *Replica) compare(ctx context.Context, l *link, prefixes [][]byte, all bool) (keys []string, same int, err error) {
	listed := 0
	req := &pb.SyncRequest{Body: &pb.SyncRequest_GetFactIds{GetFactIds: &pb.GetFactIDs{Prefixes: prefixes}}}
	err = r.call(ctx, l, req, func(reply *pb.SyncReply) error {
		ids := reply.GetFactIds().GetIds()
		if listed += len(ids); len(ids) > protocol.MaxElements || listed > maxListed {
			return errReply
		}
		news, known := r.news(ids, all)
		keys, same = append(keys, news...), same+known
		return nil
	})
	return keys, same, err
}

func (r *Replica) news(ids []*pb.FactID, all bool) (keys []string, same int) {
	wall := r.wall()
	r.state.mu.RLock()
	defer r.state.mu.RUnlock()
	for _, id := range ids {
		k := catalog.Key(id.GetKey())
		s, err := fromStamp(id.GetStamp())
		if err != nil || isFuture(wall, s) && r.later.declines(k, s) {
			continue
		}
		ours, ok := r.state.cat.Get(k)
		if ok && ours.Stamp == s {
			same++
			if !all {
				continue
			}
		}
		keys = append(keys, id.GetKey())
	}
	return keys, same
}

func (r *Replica) countUnder(prefixes [][]byte) (n int) {
	r.View(func(c *catalog.Catalog) {
		for _, p := range prefixes {
			for range c.FactsUnder(string(p)) {
				n++
			}
		}
	})
	return n
}

// fetch takes facts by their keys into the catalog, in one commit as long as
// they fit in memory.
func (r *Replica) fetch(ctx context.Context, l *link, keys []string) error {
	var facts []catalog.Fact
	size := 0
	for len(keys) > 0 {
		n := min(protocol.MaxElements, len(keys))
		req := &pb.SyncRequest{Body: &pb.SyncRequest_GetFacts{GetFacts: &pb.GetFacts{Keys: keys[:n]}}}
		keys = keys[n:]
		err := r.call(ctx, l, req, func(reply *pb.SyncReply) error {
			in := reply.GetFacts().GetFacts()
			if len(in) > n {
				return errReply
			}
			more, _ := r.fromFacts(l.name, in)
			for _, f := range more {
				size += len(f.Key) + len(f.Value)
			}
			facts = append(facts, more...)
			return nil
		})
		if err != nil {
			return err
		}
		if size > pullBytes || len(keys) == 0 {
			if err := r.mergeAll(ctx, facts); err != nil {
				return fmt.Errorf("take in facts: %w", err)
			}
			facts, size = nil, 0
		}
	}
	return nil
}
