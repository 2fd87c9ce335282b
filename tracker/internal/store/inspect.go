package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// Places in bbolt's pages, from the beginning of each (its file format has been
// the same since version 2). All numbers are in the machine's own order.
const (
	pageHead     = 16 // id, flags, count, overflow
	elementSize  = 16
	metaMagicAt  = 16
	metaPageAt   = 24
	metaRootAt   = 32
	metaFreeAt   = 48
	metaHighAt   = 56
	metaTxAt     = 64
	metaSumAt    = 72
	metaEnd      = 80
	boltMagic    = 0xED0CDAED
	minFilePages = 4
	// maxOverflow bounds one page of the tree; the largest value is a blobChunk.
	maxOverflow = 1 << 12
	maxDepth    = 64

	flagBranch, flagLeaf, flagFree = 0x01, 0x02, 0x10
	flagBucket                     = 0x01 // of an element of a leaf
	noFreelist                     = 1<<64 - 1
	longFreelist                   = 0xFFFF
)

func u16(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

// inspector reads a bbolt file and trusts nothing in it: bbolt itself checks its
// meta pages only, and meets other damage with a panic, a fault, or not at all.
type inspector struct {
	f        io.ReaderAt
	pageSize int64
	high     uint64 // pages in use are below
	used     []bool
}

// inspectFile reads the whole file, page by page. Nobody may be writing to it.
func inspectFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	meta := newestMeta(f)
	if meta == nil {
		return errors.New("it does not begin like a catalog")
	}
	in := &inspector{f: f, pageSize: int64(u32(meta[metaPageAt:])), high: u64(meta[metaHighAt:])}
	if in.high < minFilePages || in.high > uint64(info.Size()/in.pageSize) {
		return fmt.Errorf("it is cut short: %d bytes", info.Size())
	}
	in.used = make([]bool, in.high)
	if err := in.walk(u64(meta[metaRootAt:]), nil, nil, 0); err != nil {
		return err
	}
	if free := u64(meta[metaFreeAt:]); free != noFreelist {
		return in.freelist(free)
	}
	return nil
}

// newestMeta returns the meta page that bbolt will use, nil if there is none.
// The second one follows the first by a page, whose size only the first tells.
func newestMeta(f io.ReaderAt) (newest []byte) {
	second := int64(os.Getpagesize())
	for _, at := range []*int64{new(int64), &second} {
		m := make([]byte, metaEnd)
		if _, err := f.ReadAt(m, *at); err != nil || !validMeta(m) {
			continue
		}
		if *at == 0 {
			second = int64(u32(m[metaPageAt:]))
		}
		if newest == nil || u64(m[metaTxAt:]) > u64(newest[metaTxAt:]) {
			newest = m
		}
	}
	return newest
}

func validMeta(m []byte) bool {
	sum := fnv.New64a()
	_, _ = sum.Write(m[metaMagicAt:metaSumAt])
	return u32(m[metaMagicAt:]) == boltMagic && u32(m[metaPageAt:]) >= metaEnd &&
		u64(m[metaSumAt:]) == sum.Sum64()
}

func damagedPage(id uint64, what string) error { return fmt.Errorf("page %d: %s", id, what) }

// page reads a page whole and notes that it is in use, which it must be once.
func (in *inspector) page(id uint64) ([]byte, error) {
	if id < 2 || id >= in.high {
		return nil, damagedPage(id, "there is no such page")
	}
	head := make([]byte, pageHead)
	if _, err := in.f.ReadAt(head, int64(id)*in.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	overflow := uint64(u32(head[12:]))
	if u64(head) != id || id+overflow >= in.high || overflow > max(maxOverflow, in.high/512) {
		return nil, damagedPage(id, "it is not the one that belongs there")
	}
	for i := id; i <= id+overflow; i++ {
		if err := in.use(i); err != nil {
			return nil, err
		}
	}
	p := make([]byte, int64(overflow+1)*in.pageSize)
	_, err := in.f.ReadAt(p, int64(id)*in.pageSize)
	return p, err
}

func (in *inspector) use(id uint64) error {
	if id < 2 || id >= in.high || in.used[id] {
		return damagedPage(id, "it is in use twice")
	}
	in.used[id] = true
	return nil
}

// walk checks a page of a tree and all below it, whose keys are from low to
// below high; nil is no bound.
func (in *inspector) walk(id uint64, low, high []byte, depth int) error {
	p, err := in.page(id)
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return damagedPage(id, "the tree is too deep")
	}
	switch u16(p[8:]) {
	case flagLeaf:
		return in.leaf(id, p, low, high, depth)
	case flagBranch:
		return in.branch(id, p, low, high, depth)
	default:
		return damagedPage(id, "it is of another kind")
	}
}

func (in *inspector) branch(id uint64, p, low, high []byte, depth int) error {
	count := int(u16(p[10:]))
	keys, children := make([][]byte, count+1), make([]uint64, count)
	for i := range count {
		e, ok := element(p, i)
		if !ok {
			return damagedPage(id, "it is cut short")
		}
		if keys[i], ok = part(p, pageHead+i*elementSize, u32(e), u32(e[4:])); !ok {
			return damagedPage(id, "a key is outside")
		}
		children[i] = u64(e[8:])
	}
	if err := inOrder(id, keys[:count], low, high); err != nil || count == 0 {
		return err
	}
	keys[count] = high
	for i, child := range children {
		if err := in.walk(child, keys[i], keys[i+1], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks a leaf, which may be the one within a small bucket's entry.
func (in *inspector) leaf(id uint64, p, low, high []byte, depth int) error {
	count := int(u16(p[10:]))
	keys := make([][]byte, count)
	for i := range count {
		e, ok := element(p, i)
		if !ok {
			return damagedPage(id, "it is cut short")
		}
		key, ok := part(p, pageHead+i*elementSize, u32(e[4:]), u32(e[8:]))
		if !ok {
			return damagedPage(id, "a key is outside")
		}
		value, ok := part(p, pageHead+i*elementSize, u32(e[4:])+u32(e[8:]), u32(e[12:]))
		if !ok {
			return damagedPage(id, "a value is outside")
		}
		keys[i] = key
		if err := in.entry(id, key, value, u32(e), depth); err != nil {
			return err
		}
	}
	return inOrder(id, keys, low, high)
}

func (in *inspector) entry(id uint64, key, value []byte, flags uint32, depth int) error {
	switch {
	case flags == 0:
		_, err := open(key, value)
		return err
	case flags != flagBucket || len(value) < pageHead || depth > maxDepth:
		return damagedPage(id, "an entry is of another kind")
	case u64(value) != 0:
		return in.walk(u64(value), nil, nil, depth+1)
	case len(value) < 2*pageHead || u16(value[pageHead+8:]) != flagLeaf:
		return damagedPage(id, "a bucket is damaged")
	default:
		return in.leaf(id, value[pageHead:], nil, nil, depth+1)
	}
}

func element(p []byte, i int) ([]byte, bool) {
	from := pageHead + i*elementSize
	if from+elementSize > len(p) {
		return nil, false
	}
	return p[from : from+elementSize], true
}

// part returns what lies at some distance from the beginning of an element.
func part(p []byte, from int, distance, size uint32) ([]byte, bool) {
	begin := uint64(from) + uint64(distance)
	if begin+uint64(size) > uint64(len(p)) {
		return nil, false
	}
	return p[begin : begin+uint64(size)], true
}

func inOrder(id uint64, keys [][]byte, low, high []byte) error {
	for i, k := range keys {
		if i == 0 && low != nil && bytes.Compare(k, low) < 0 || i > 0 && bytes.Compare(keys[i-1], k) >= 0 ||
			high != nil && bytes.Compare(k, high) >= 0 {
			return damagedPage(id, "keys are out of order")
		}
	}
	return nil
}

// freelist checks that nothing in use is thought to be free.
func (in *inspector) freelist(id uint64) error {
	p, err := in.page(id)
	if err != nil {
		return err
	}
	count, from := uint64(u16(p[10:])), uint64(pageHead)
	if count == longFreelist {
		count, from = u64(p[pageHead:]), pageHead+8
	}
	if u16(p[8:]) != flagFree || count > (uint64(len(p))-from)/8 {
		return damagedPage(id, "it is no list of free pages")
	}
	for i := range count {
		if err := in.use(u64(p[from+8*i:])); err != nil {
			return err
		}
	}
	return nil
}
