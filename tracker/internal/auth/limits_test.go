package auth_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
)

// clock is a wall clock that a test moves.
type clock struct{ t time.Time }

func newClock() *clock                   { return &clock{time.Unix(1_700_000_000, 0)} }
func (c *clock) Now() time.Time          { return c.t }
func (c *clock) Advance(d time.Duration) { c.t = c.t.Add(d) }

func TestParseRate(t *testing.T) {
	tests := []struct {
		name, text string
		want       auth.Rate
		bad        bool
	}{
		{name: "minutes", text: "60/min,200", want: auth.Rate{Count: 60, Per: time.Minute, Burst: 200}},
		{name: "seconds", text: "0.5/s,1", want: auth.Rate{Count: 0.5, Per: time.Second, Burst: 1}},
		{name: "hours", text: "5/h,5", want: auth.Rate{Count: 5, Per: time.Hour, Burst: 5}},
		{name: "duration", text: "1/45s,5", want: auth.Rate{Count: 1, Per: 45 * time.Second, Burst: 5}},
		{name: "off", text: "off", want: auth.Rate{Off: true}},
		{name: "spaces", text: " 60 / min , 200 ", want: auth.Rate{Count: 60, Per: time.Minute, Burst: 200}},
		{name: "empty", text: "", bad: true},
		{name: "no burst", text: "60/min", bad: true},
		{name: "no unit", text: "60,200", bad: true},
		{name: "unknown unit", text: "60/fortnight,200", bad: true},
		{name: "zero", text: "0/min,1", bad: true},
		{name: "zero burst", text: "1/min,0", bad: true},
		{name: "not a number", text: "NaN/min,1", bad: true},
		{name: "infinite", text: "Inf/min,1", bad: true},
		{name: "negative", text: "-1/min,1", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := auth.ParseRate(tt.text)
			if (err != nil) != tt.bad || got != tt.want {
				t.Errorf("ParseRate(%q) = %+v, %v, want %+v", tt.text, got, err, tt.want)
			}
		})
	}
}

func FuzzParseRate(f *testing.F) {
	for _, k := range auth.Known() {
		f.Add(k.Default)
	}
	f.Add("1/0s,1")
	f.Fuzz(func(t *testing.T, text string) {
		defer frugal.Check(t)()
		r, err := auth.ParseRate(text)
		if err != nil {
			return
		}
		again, err := auth.ParseRate(r.String())
		if err != nil || again != r {
			t.Errorf("%q is %+v, written %q, which is %+v, %v", text, r, r.String(), again, err)
		}
	})
}

func TestNewLimits(t *testing.T) {
	tests := []struct {
		name    string
		replace map[string]string
		want    protocol.Code
	}{
		{"defaults", nil, ""},
		{"replaced", map[string]string{auth.LimitOps: "off"}, ""},
		{"unknown", map[string]string{"opps": "off"}, protocol.CodeConfig},
		{"malformed", map[string]string{auth.LimitOps: "many"}, protocol.CodeConfig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := auth.NewLimits(tt.replace, time.Now); protocol.CodeOf(err) != tt.want {
				t.Errorf("NewLimits(%v) = %v, want %s", tt.replace, err, tt.want)
			}
		})
	}
}

func TestLimitsAllow(t *testing.T) {
	c := newClock()
	l, err := auth.NewLimits(map[string]string{auth.LimitOps: "60/min,3"}, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := l.Allow(auth.LimitOps, "ada"); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	err = l.Allow(auth.LimitOps, "ada")
	var e *protocol.Error
	if !errors.As(err, &e) || e.Code != protocol.CodeRate || e.RetryAfter != time.Second {
		t.Errorf("beyond the burst: %v, want E_RATE with 1s", err)
	}
	if err := l.Allow(auth.LimitOps, "bob"); err != nil {
		t.Errorf("another key: %v", err)
	}
	c.Advance(time.Second)
	if err := l.Allow(auth.LimitOps, "ada"); err != nil {
		t.Errorf("a second later: %v", err)
	}
	if err := l.AllowN(auth.LimitOps, "carol", 4); protocol.CodeOf(err) != protocol.CodeRate {
		t.Errorf("more than the burst: %v, want E_RATE", err)
	}
}

// Over any sequence no more than burst + elapsed*rate events pass.
func TestLimitsNeverExceedRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		burst := rapid.IntRange(1, 20).Draw(t, "burst")
		l, err := auth.NewLimits(map[string]string{auth.LimitOps: "2/s," + strconv.Itoa(burst)}, c.Now)
		if err != nil {
			t.Fatal(err)
		}
		passed, elapsed := 0, time.Duration(0)
		for _, ms := range rapid.SliceOfN(rapid.IntRange(0, 900), 1, 100).Draw(t, "pauses") {
			d := time.Duration(ms) * time.Millisecond
			c.Advance(d)
			elapsed += d
			if l.Allow(auth.LimitOps, "ada") == nil {
				passed++
			}
		}
		if most := float64(burst) + elapsed.Seconds()*2 + 1e-6; float64(passed) > most {
			t.Fatalf("%d passed, at most %.2f may", passed, most)
		}
	})
}

// What was given back can be used again, and no more than that.
func TestGiveBack(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l, err := auth.NewLimits(map[string]string{auth.LimitLogins: "1/h,2"}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	l.GiveBack(auth.LimitLogins, "never seen")
	for range 5 {
		if err := l.Allow(auth.LimitLogins, "a"); err != nil {
			t.Fatalf("Allow after GiveBack: %v", err)
		}
		l.GiveBack(auth.LimitLogins, "a")
	}
	l.GiveBack(auth.LimitLogins, "a") // more than was taken
	allowed := 0
	for range 5 {
		if l.Allow(auth.LimitLogins, "a") == nil {
			allowed++
		}
	}
	if allowed != 2 {
		t.Errorf("%d allowed, want the burst of 2", allowed)
	}
}

// What one address may do is shared by all trackers, but for the bursts.
func TestAddressLimitsAreShared(t *testing.T) {
	for _, name := range []string{auth.LimitLogins, auth.LimitRegistrations} {
		c := newClock()
		l, err := auth.NewLimits(map[string]string{name: "60/min,3"}, c.Now)
		if err != nil {
			t.Fatal(err)
		}
		l.SetTrackers(4)
		for i := range 3 {
			if err := l.Allow(name, "192.0.2.1"); err != nil {
				t.Fatalf("%s %d of the burst: %v", name, i, err)
			}
		}
		err = l.Allow(name, "192.0.2.1")
		e, ok := errors.AsType[*protocol.Error](err)
		if !ok || e.Code != protocol.CodeRate || e.RetryAfter != 4*time.Second {
			t.Errorf("%s behind the burst: %v, want E_RATE with 4s (four trackers)", name, err)
		}
		c.Advance(4 * time.Second)
		if err := l.Allow(name, "192.0.2.1"); err != nil {
			t.Errorf("%s 4 s later: %v", name, err)
		}
	}
}
