package swarm

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSharedBudget drives stakes as loops do: claim, use at most the grant or
// what is used already, settle.
func TestSharedBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := rapid.Int64Range(8, 40).Draw(t, "budget")
		s := NewShared(budget, 1)
		var stakes []*stake
		used := map[*stake]int64{}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				if len(stakes) < 6 {
					stakes = append(stakes, s.join(2))
				}
			},
			"leave": func(t *rapid.T) {
				if len(stakes) > 0 {
					i := rapid.IntRange(0, len(stakes)-1).Draw(t, "who")
					stakes[i].leave()
					delete(used, stakes[i])
					stakes = append(stakes[:i], stakes[i+1:]...)
				}
			},
			"step": func(t *rapid.T) {
				if len(stakes) == 0 {
					return
				}
				k := rapid.SampledFrom(stakes).Draw(t, "who")
				grant := k.claim()
				if grant < 2 {
					t.Fatalf("granted %d", grant)
				}
				if rapid.Bool().Draw(t, "other settles meanwhile") {
					other := rapid.SampledFrom(stakes).Draw(t, "other")
					if other != k {
						other.settle(used[other], true)
					}
				}
				wants := rapid.Int64Range(0, 2*budget).Draw(t, "wants")
				// What is in flight goes down as answers come, and up to the grant.
				used[k] = min(wants, max(used[k], grant))
				k.settle(used[k], wants > used[k])
			},
			"": func(t *rapid.T) {
				var sum, least int64
				for _, k := range stakes {
					sum += used[k]
					least += 2
				}
				if sum > budget+least {
					t.Fatalf("%d in flight of %d, %d stakes", sum, budget, len(stakes))
				}
			},
		})
	})
}

func TestSharedIsFair(t *testing.T) {
	s := NewShared(30, 1)
	a, b, c := s.join(2), s.join(2), s.join(2)
	round := func(k *stake, wants int64) int64 {
		used := min(k.claim(), wants)
		k.settle(used, used < wants)
		return used
	}
	if got := round(a, 100); got != 2 {
		t.Errorf("first: got %d, want 2", got)
	}
	tests := []struct {
		name                string
		a, b, c             int64
		wantA, wantB, wantC int64
	}{
		{name: "alone", a: 100, wantA: 26},
		{name: "two", a: 100, b: 100, wantA: 14, wantB: 14},
		{name: "three", a: 100, b: 100, c: 100, wantA: 10, wantB: 10, wantC: 10},
		{name: "one with little", a: 100, b: 4, c: 100, wantA: 12, wantB: 4, wantC: 12},
		{name: "alone again", c: 100, wantC: 26},
	}
	for _, tt := range tests {
		var gotA, gotB, gotC int64
		for range 5 {
			gotA, gotB, gotC = round(a, tt.a), round(b, tt.b), round(c, tt.c)
		}
		if gotA != tt.wantA || gotB != tt.wantB || gotC != tt.wantC {
			t.Errorf("%s: got %d, %d, %d, want %d, %d, %d", tt.name, gotA, gotB, gotC, tt.wantA, tt.wantB, tt.wantC)
		}
	}
}

// TestQueue: never more downloads than seats have anything in flight, none that
// could use a seat waits while one is free, and those that began first are first.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seats := rapid.IntRange(1, 3).Draw(t, "seats")
		s := NewQueue(4, 1, seats)
		var stakes []*stake
		used, wants := map[*stake]int64{}, map[*stake]int64{}
		turn := func(k *stake) {
			used[k] = min(wants[k], max(used[k], k.claim()))
			queued := k.settle(used[k], wants[k] > used[k])
			if queued && used[k] > 0 {
				t.Fatal("a download with something in flight has no seat")
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(*rapid.T) {
				if len(stakes) < 6 {
					stakes = append(stakes, s.join(2))
				}
			},
			"leave": func(t *rapid.T) {
				if len(stakes) > 0 {
					i := rapid.IntRange(0, len(stakes)-1).Draw(t, "who")
					stakes[i].leave()
					delete(used, stakes[i])
					stakes = append(stakes[:i], stakes[i+1:]...)
				}
			},
			"step": func(t *rapid.T) {
				if len(stakes) > 0 {
					k := rapid.SampledFrom(stakes).Draw(t, "who")
					wants[k] = rapid.SampledFrom([]int64{0, 0, 1, 2, 9}).Draw(t, "wants")
					turn(k)
				}
			},
			"": func(t *rapid.T) {
				for range 2 { // whoever was woken looks at its grant
					for _, k := range stakes {
						turn(k)
					}
				}
				flying, waiting := 0, false
				for _, k := range stakes {
					if used[k] > 0 {
						flying++
					}
					waiting = waiting || wants[k] > 0 && used[k] == 0
				}
				if flying > seats || waiting && flying < seats {
					t.Fatalf("%d of %d downloads have something in flight, %d seats, one waits: %v", flying, len(stakes), seats, waiting)
				}
			},
		})
	})
	s := NewQueue(4, 1, 1)
	a, b, c := s.join(2), s.join(2), s.join(2)
	for _, k := range []*stake{c, b, a} { // c is the first that is hungry
		k.claim()
		if queued := k.settle(0, true); queued != (k != c) {
			t.Errorf("queued: %v", queued)
		}
	}
	c.leave()
	if a.claim() == 0 || b.claim() != 0 {
		t.Error("the seat did not go to the one that began first")
	}
}
