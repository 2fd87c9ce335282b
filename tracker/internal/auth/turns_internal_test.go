package auth

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// A place with many waiting costs another one a turn.
func TestTurnsRotate(t *testing.T) {
	q := newTurns(1, 100)
	<-q.join("busy")
	var storm []turn
	for range 50 {
		storm = append(storm, q.join("storm"))
	}
	late, later := q.join("home"), q.join("home")
	for i, want := range []turn{storm[0], late, storm[1], later, storm[2], storm[3]} {
		q.done()
		select {
		case came := <-want:
			if !came {
				t.Fatalf("turn %d was refused", i)
			}
		default:
			t.Fatalf("turn %d is somebody else's", i)
		}
	}
}

// A full queue costs the one with the longest line its last place.
func TestFullTurns(t *testing.T) {
	q := newTurns(1, 3)
	<-q.join("busy")
	storm := []turn{q.join("storm"), q.join("storm"), q.join("storm")}
	if <-q.join("storm") {
		t.Error("the fourth of three was let in")
	}
	home := q.join("home")
	if <-storm[2] {
		t.Error("the last of the storm had a turn")
	}
	q.done()
	q.done()
	if !<-storm[0] || !<-home {
		t.Error("the others had none")
	}
}

// Whatever comes and goes, no slot is lost, given twice, or free while somebody
// waits, and everybody hears one word at most.
func TestTurnsKeepCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const slots, most = 2, 5
		q := newTurns(slots, most)
		type guest struct {
			place string
			own   turn
		}
		var inside int
		var waiting []guest
		hear := func() {
			left := waiting[:0]
			for _, g := range waiting {
				select {
				case came := <-g.own:
					if came {
						inside++
					}
				default:
					left = append(left, g)
				}
			}
			waiting = left
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				place := fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "place"))
				waiting = append(waiting, guest{place, q.join(place)})
				hear()
			},
			"leave": func(t *rapid.T) {
				if len(waiting) == 0 {
					t.Skip("nobody waits")
				}
				i := rapid.IntRange(0, len(waiting)-1).Draw(t, "who")
				g := waiting[i]
				waiting = append(waiting[:i], waiting[i+1:]...)
				if rapid.Bool().Draw(t, "as the turn comes") && inside > 0 {
					inside--
					q.done()
				}
				q.leave(g.place, g.own)
				hear()
			},
			"done": func(t *rapid.T) {
				if inside == 0 {
					t.Skip("nobody is inside")
				}
				inside--
				q.done()
				hear()
			},
			"": func(t *rapid.T) {
				lines := 0
				for p, l := range q.lines {
					if len(l) == 0 {
						t.Fatalf("%s has an empty line", p)
					}
					lines += len(l)
				}
				if inside+q.free != slots || lines != len(waiting) || q.waiting != lines || lines > most ||
					len(q.order) != len(q.lines) || q.free > 0 && lines > 0 {
					t.Fatalf("%d inside, %d free, %d of %d in %d lines and %d in order", inside, q.free, len(waiting), q.waiting, lines, len(q.order))
				}
			},
		})
	})
}
