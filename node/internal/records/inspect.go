package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"

	"github.com/p2pshare/p2pshare/protocol"
)

// The layout of a bbolt file, version 2, which bbolt has kept since 2013 and
// promises to keep. Numbers are in the byte order of the machine.
const (
	pageHeader    = 16 // id 8, flags 2, count 2, further pages 4
	branchElement = 16 // position 4, key length 4, page 8
	leafElement   = 16 // flags 4, position 4, key length 4, value length 4
	bucketHeader  = 16 // root page 8, sequence 8
	metaSize      = 64 // magic 4, version 4, page size 4, flags 4, root bucket 16, freelist 8, pages 8, transaction 8, checksum 8

	flagBranch  = 1
	flagLeaf    = 2
	flagBucket  = 1 // of a leaf element
	metaMagic   = 0xED0CDAED
	metaVersion = 2

	// maxDepth is far above the depth of any tree of ours: with two keys a page
	// it would hold 2^32 records.
	maxDepth = 32
	// maxPage bounds what is read at once. bbolt divides no page of up to four
	// records, and the longest are manifests.
	maxPage = 5 * protocol.MaxManifest

	// noFreeList stands for a list of free pages that the file does not have.
	noFreeList = 1<<64 - 1
)

// inspect reads a bbolt file without trusting anything in it. It hands every
// record whose checksum is right to take, which may keep it, and returns the
// first fault found; nil means that the whole file is sound.
func inspect(f io.ReaderAt, take func(entry)) (fault error) {
	in := inspector{f: f, seen: map[uint64]bool{}, take: take}
	root, err := in.meta()
	if err != nil {
		return err
	}
	if in.freeList != noFreeList { // see options: bbolt would believe it
		in.bad("it has a list of free pages")
	}
	in.page(root, "", 0, span{})
	return in.fault
}

// span are the keys that a page may hold: from first on, and before limit
// unless that is nil.
type span struct{ first, limit []byte }

func (s span) has(key []byte) bool {
	return string(key) >= string(s.first) && (s.limit == nil || string(key) < string(s.limit))
}

type inspector struct {
	f        io.ReaderAt
	pageSize uint64
	pages    uint64 // in use, counted from 0
	freeList uint64 // its page
	seen     map[uint64]bool
	take     func(entry)
	fault    error // the first
}

func (in *inspector) bad(format string, args ...any) {
	if in.fault == nil {
		in.fault = fmt.Errorf(format, args...)
	}
}

// meta finds the newer of the two descriptions of the file, as bbolt does: of
// the one that was being written in a crash the checksum is wrong.
func (in *inspector) meta() (root uint64, err error) {
	newest, sound := uint64(0), false
	head := make([]byte, pageHeader+metaSize)
	at := func(off int64) (size uint64) {
		if _, err := in.f.ReadAt(head, off); err != nil {
			return 0
		}
		m := head[pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:metaSize-8])
		if u32(m) != metaMagic || u32(m[4:]) != metaVersion || u64(m[56:]) != sum.Sum64() {
			return 0
		}
		size = uint64(u32(m[8:]))
		if tx := u64(m[48:]); !sound || tx > newest {
			newest, sound = tx, true
			in.pageSize, root, in.freeList, in.pages = size, u64(m[16:]), u64(m[32:]), u64(m[40:])
		}
		return size
	}
	// The second one lies a page behind the first, whose length the first tells;
	// if that is damaged, bbolt tries every power of two.
	if size := at(0); size != 0 {
		at(int64(size))
	} else {
		for size := int64(1 << 10); size <= 1<<14 && !sound; size <<= 1 {
			at(size)
		}
	}
	if !sound || in.pageSize < 1<<10 || in.pageSize > 1<<16 {
		return 0, errors.New("it does not begin like a file of records")
	}
	return root, nil
}

// page walks the tree below a page; bucket is the name of its bucket, "" for
// the bucket of all buckets.
func (in *inspector) page(id uint64, bucket string, depth int, keys span) {
	if id < 2 || id >= in.pages || depth > maxDepth || in.seen[id] {
		in.bad("page %d has no place in it", id)
		return
	}
	var head [pageHeader]byte
	if _, err := in.f.ReadAt(head[:], int64(id*in.pageSize)); err != nil {
		in.bad("page %d is cut off", id)
		return
	}
	length := (uint64(u32(head[12:])) + 1) * in.pageSize
	if u64(head[:]) != id || length > maxPage || id*in.pageSize+length > in.pages*in.pageSize {
		in.bad("page %d is not what it should be", id)
		return
	}
	b := make([]byte, length)
	if _, err := in.f.ReadAt(b, int64(id*in.pageSize)); err != nil {
		in.bad("page %d is cut off", id)
		return
	}
	for i := id; i < id+length/in.pageSize; i++ {
		if in.seen[i] {
			in.bad("page %d is in two places", i)
			return
		}
		in.seen[i] = true
	}
	switch u16(b[8:]) {
	case flagBranch:
		in.branch(b, bucket, depth, keys)
	case flagLeaf:
		in.leaf(b, bucket, depth, keys)
	default:
		in.bad("page %d is of no known kind", id)
	}
}

func (in *inspector) branch(b []byte, bucket string, depth int, keys span) {
	count := int(u16(b[10:]))
	if count == 0 || pageHeader+count*branchElement > len(b) {
		in.bad("a page of the index is torn")
		return
	}
	firsts, children := make([][]byte, count), make([]uint64, count)
	for i := range count {
		at := pageHeader + i*branchElement
		key, ok := slice(b[at:], u32(b[at:]), u32(b[at+4:]))
		if !ok || i > 0 && string(key) <= string(firsts[i-1]) || !keys.has(key) {
			in.bad("a page of the index is torn")
		}
		firsts[i], children[i] = key, u64(b[at+8:])
	}
	for i, child := range children {
		below := span{first: firsts[i], limit: keys.limit}
		if i+1 < count {
			below.limit = firsts[i+1]
		}
		in.page(child, bucket, depth+1, below)
	}
}

func (in *inspector) leaf(b []byte, bucket string, depth int, keys span) {
	count := int(u16(b[10:]))
	if pageHeader+count*leafElement > len(b) {
		in.bad("a page of records is torn")
		return
	}
	var last []byte
	for i := range count {
		at := pageHeader + i*leafElement
		pos, keyLen, valueLen := u32(b[at+4:]), u32(b[at+8:]), u32(b[at+12:])
		key, ok := slice(b[at:], pos, keyLen)
		value, fits := slice(b[at:], pos+keyLen, valueLen)
		if !ok || !fits || pos+keyLen < pos || i > 0 && string(key) <= string(last) || !keys.has(key) {
			in.bad("a page of records is torn")
			continue
		}
		last = key
		in.element(u32(b[at:]), key, value, bucket, depth)
	}
}

// element takes up a record, or walks a bucket.
func (in *inspector) element(flags uint32, key, value []byte, bucket string, depth int) {
	switch {
	case bucket == "" && flags == flagBucket && len(value) >= bucketHeader:
		switch root, inline := u64(value), value[bucketHeader:]; {
		case root != 0:
			in.page(root, string(key), depth+1, span{})
		case len(inline) >= pageHeader && u16(inline[8:]) == flagLeaf:
			in.leaf(inline, string(key), depth+1, span{})
		default:
			in.bad("a small group of records is torn")
		}
	case bucket != "" && flags == 0:
		if payload, ok := unseal(bucket, key, value); ok {
			in.take(entry{bucket: bucket, key: key, payload: payload})
		} else {
			in.bad("a record of %q is torn", bucket)
		}
	default:
		in.bad("something is no record")
	}
}

// slice returns n bytes of b from pos on, if they are there.
func slice(b []byte, pos, n uint32) ([]byte, bool) {
	if uint64(pos)+uint64(n) > uint64(len(b)) {
		return nil, false
	}
	return b[pos : pos+n], true
}

func u16(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }
