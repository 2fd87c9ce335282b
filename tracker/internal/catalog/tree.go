package catalog

// bucketSize is how many facts a node holds before it splits: comparing the
// stamps of so few is cheaper than another round of digests.
const bucketSize = 16

// node is a node of the digest tree. It has kids or a bucket. Below a bucket
// there are more levels as far as anybody outside can tell; they are counted
// together when somebody asks. An empty node is ready for use.
type node struct {
	sum    sum128
	facts  int
	kids   *[16]*node
	bucket []*entry
}

func (n *node) insert(e *entry) {
	for depth := 0; ; depth++ {
		n.sum = n.sum.plus(e.sum)
		n.facts++
		if n.kids == nil {
			n.put(e)
			if len(n.bucket) > bucketSize && depth < MaxDepth {
				n.split(depth)
			}
			return
		}
		n = n.kid(nibbleAt(e.place, depth))
	}
}

func (n *node) put(e *entry) {
	e.slot = int32(len(n.bucket))
	n.bucket = append(n.bucket, e)
}

func (n *node) kid(i int) *node {
	if n.kids[i] == nil {
		n.kids[i] = new(node)
	}
	return n.kids[i]
}

// split moves the bucket one level down, and further where all went to one kid.
func (n *node) split(depth int) {
	bucket := n.bucket
	n.kids, n.bucket = new([16]*node), nil
	for _, e := range bucket {
		n.kid(nibbleAt(e.place, depth)).insertBelow(e)
	}
	for _, kid := range n.kids {
		if kid != nil && len(kid.bucket) > bucketSize && depth+1 < MaxDepth {
			kid.split(depth + 1)
		}
	}
}

func (n *node) insertBelow(e *entry) {
	n.sum = n.sum.plus(e.sum)
	n.facts++
	n.put(e)
}

// remove takes out an entry that is in the tree, with the sum it has there.
func (n *node) remove(e *entry) {
	for depth := 0; ; depth++ {
		n.sum = n.sum.minus(e.sum)
		n.facts--
		if n.kids == nil {
			last := len(n.bucket) - 1
			n.bucket[e.slot] = n.bucket[last]
			n.bucket[e.slot].slot = e.slot
			n.bucket[last] = nil
			n.bucket = n.bucket[:last]
			return
		}
		i := nibbleAt(e.place, depth)
		if n.kids[i].facts == 1 {
			n.kids[i] = nil
			return
		}
		n = n.kids[i]
	}
}

// find returns the node of a prefix, or the bucket above in which its facts
// are, and the prefix as the beginning of a place.
func (n *node) find(prefix string) (at *node, place uint32, ok bool) {
	if len(prefix) > MaxDepth {
		return nil, 0, false
	}
	for i := range MaxDepth {
		place <<= 4
		if i < len(prefix) {
			if prefix[i] > 15 {
				return nil, 0, false
			}
			place |= uint32(prefix[i])
		}
	}
	for i := 0; i < len(prefix) && n.kids != nil; i++ {
		if n = n.kids[prefix[i]]; n == nil {
			return nil, 0, false
		}
	}
	return n, place, true
}

// each calls f for all entries below until it returns false.
func (n *node) each(f func(*entry) bool) bool {
	if n.kids != nil {
		for _, kid := range n.kids {
			if kid != nil && !kid.each(f) {
				return false
			}
		}
		return true
	}
	for _, e := range n.bucket {
		if !f(e) {
			return false
		}
	}
	return true
}
