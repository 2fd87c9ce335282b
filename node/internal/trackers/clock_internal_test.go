package trackers

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// What trackers said of their clocks long ago does not outvote the one that
// answers now, whose sessions would be refused here otherwise.
func TestOffsetsOfLongAgoDoNotCount(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	var k clock
	all := []*tracker{{}, {}, {}}
	hear := func(tr *tracker, off time.Duration) time.Duration {
		h := http.Header{}
		h.Set(protocol.HeaderTime, strconv.FormatInt(now.Add(off).UnixMilli(), 10))
		return k.learn(tr, h, now)
	}
	for i, tr := range all {
		told := hear(tr, -10*time.Minute)
		if first := i == 0; (told != 0) != first {
			t.Errorf("tracker %d: told of %v", i, told)
		}
	}
	if got := k.correction(); got != -10*time.Minute {
		t.Errorf("correction %v, want -10m", got)
	}
	// The clocks are set right. One tracker alone is heard.
	now = now.Add(30 * time.Second)
	hear(all[1], 0)
	if got := k.correction(); got != -10*time.Minute {
		t.Errorf("with two of three behind, the correction is %v, want -10m", got)
	}
	now = now.Add(offsetLife)
	hear(all[1], 0)
	if got := k.correction(); got != 0 {
		t.Errorf("correction %v from trackers that were not heard for long", got)
	}
}

// A client that makes no calls hears of the clock all the same.
func TestSignsOfLifeTellTheTime(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	var k clock
	tr := &tracker{}
	k.alive(tr, now.Add(-10*time.Minute).UnixMilli(), now)
	if got := k.correction(); got != -10*time.Minute {
		t.Errorf("correction %v, want -10m", got)
	}
	k.alive(tr, 0, now) // one that does not tell
	k.alive(tr, now.UnixMilli(), now)
	if got := k.correction(); got != 0 {
		t.Errorf("correction %v of a clock that was set right", got)
	}
}
