package catalog

import (
	"iter"
	"slices"
	"strings"
)

// chunkSize bounds the strings that one insertion moves.
const chunkSize = 512

// ordered is a set of strings in order: a list of chunks, none of them empty.
// The zero value is an empty set.
type ordered struct{ chunks [][]string }

// chunk returns the index of the chunk that s belongs to.
func (o *ordered) chunk(s string) int {
	i, ok := slices.BinarySearchFunc(o.chunks, s, func(c []string, s string) int {
		return strings.Compare(c[0], s)
	})
	if !ok && i > 0 {
		i--
	}
	return i
}

func (o *ordered) insert(s string) {
	if len(o.chunks) == 0 {
		o.chunks = [][]string{{s}}
		return
	}
	i := o.chunk(s)
	at, ok := slices.BinarySearch(o.chunks[i], s)
	if ok {
		return
	}
	o.chunks[i] = slices.Insert(o.chunks[i], at, s)
	if c := o.chunks[i]; len(c) > chunkSize {
		half := slices.Clone(c[len(c)/2:])
		o.chunks[i] = slices.Delete(c, len(c)/2, len(c))
		o.chunks = slices.Insert(o.chunks, i+1, half)
	}
}

func (o *ordered) remove(s string) {
	if len(o.chunks) == 0 {
		return
	}
	i := o.chunk(s)
	at, ok := slices.BinarySearch(o.chunks[i], s)
	if !ok {
		return
	}
	o.chunks[i] = slices.Delete(o.chunks[i], at, at+1)
	if len(o.chunks[i]) == 0 {
		o.chunks = slices.Delete(o.chunks, i, i+1)
	}
}

// from yields the strings from s on, in order.
func (o *ordered) from(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := o.chunk(s); i < len(o.chunks); i++ {
			at, _ := slices.BinarySearch(o.chunks[i], s)
			for _, next := range o.chunks[i][at:] {
				if !yield(next) {
					return
				}
			}
		}
	}
}
