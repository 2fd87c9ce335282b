package scheduler

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/internal/frugal"
)

// TestRarity compares the order with a naive count after every change.
func TestRarity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "pieces")
		r := newRarity(n, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		avail := make([]uint16, n)
		wanted := make([]bool, n)
		piece := rapid.IntRange(0, n-1)
		t.Repeat(map[string]func(*rapid.T){
			"want": func(t *rapid.T) {
				if i := piece.Draw(t, "piece"); wanted[i] {
					r.remove(i)
					wanted[i] = false
				} else {
					r.add(i)
					wanted[i] = true
				}
			},
			"increase": func(t *rapid.T) {
				i := piece.Draw(t, "piece")
				r.increase(i)
				avail[i]++
			},
			"decrease": func(t *rapid.T) {
				if i := piece.Draw(t, "piece"); avail[i] > 0 {
					r.decrease(i)
					avail[i]--
				}
			},
			"": func(t *rapid.T) {
				if !slices.Equal(avail, r.avail) {
					t.Fatalf("availability: got %v, want %v", r.avail, avail)
				}
				count := 0
				for i, w := range wanted {
					if w != r.wanted(i) {
						t.Fatalf("piece %d: wanted %v", i, !w)
					}
					if w {
						count++
						if r.order[r.pos[i]] != int32(i) {
							t.Fatalf("piece %d is not at its place", i)
						}
					}
				}
				if count != len(r.order) {
					t.Fatalf("%d pieces in order, want %d", len(r.order), count)
				}
				rarer := func(a, b int32) int { return int(avail[a]) - int(avail[b]) }
				if !slices.IsSortedFunc(r.order, rarer) {
					t.Fatalf("order %v of availability %v", r.order, avail)
				}
				for a := range len(r.first) - 1 {
					for _, i := range r.order[r.first[a]:r.first[a+1]] {
						if int(avail[i]) != a {
							t.Fatalf("piece %d of availability %d is among those of %d", i, avail[i], a)
						}
					}
				}
			},
		})
	})
}

// TestTiesAreRandom: among pieces that one peer has each, the first differs
// from seed to seed, also after all of them moved from one bucket to the next.
func TestTiesAreRandom(t *testing.T) {
	const n, seeds = 16, 1600
	firsts := make([]int, n)
	for seed := range uint64(seeds) {
		r := newRarity(n, rand.New(rand.NewPCG(seed, 0)))
		for i := range n {
			r.add(i)
		}
		for i := range n {
			r.increase(i)
		}
		firsts[r.order[0]]++
	}
	for i, count := range firsts {
		if count < seeds/n/2 || count > seeds/n*2 {
			t.Errorf("piece %d came first %d times of %d", i, count, seeds)
		}
	}
}

func TestFromWire(t *testing.T) {
	tests := []struct {
		name  string
		field []byte
		n     int
		want  []uint
	}{
		{name: "nothing", n: 5},
		{name: "first", field: []byte{0x80}, n: 5, want: []uint{0}},
		{name: "bits behind the end", field: []byte{0x0f, 0xff}, n: 5, want: []uint{4}},
		{name: "over a word", field: []byte{1, 0, 0, 0, 0, 0, 0, 1, 0xc0}, n: 66, want: []uint{7, 63, 64, 65}},
		{name: "short", field: []byte{0x01}, n: 200, want: []uint{7}},
		{name: "long", field: make([]byte, 100), n: 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := fromWire(tt.field, tt.n).AppendTo(nil)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzFromWire(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{0xff}, uint16(5))
	f.Add([]byte{0x80, 0, 0, 0, 0, 0, 0, 1, 0x40, 0xff}, uint16(66))
	f.Fuzz(func(t *testing.T, field []byte, pieces uint16) {
		defer frugal.Check(t)()
		n := int(pieces)
		set := fromWire(field, n)
		count := 0
		for i := range n {
			want := i/8 < len(field) && field[i/8]&(0x80>>(i%8)) != 0
			if set.Test(uint(i)) != want {
				t.Fatalf("bit %d: got %v, want %v", i, !want, want)
			}
			if want {
				count++
			}
		}
		if int(set.Count()) != count {
			t.Fatalf("got %d bits, want %d", set.Count(), count)
		}
	})
}
