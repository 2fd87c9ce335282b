package auth

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// Rate is how often something may happen: Burst times at once, then Count times a Per.
type Rate struct {
	Count float64
	Per   time.Duration
	Burst int
	Off   bool // no limit
}

// ParseRate reads "COUNT/UNIT,BURST" with UNIT s, min, h or a duration such as
// 45s, or "off". The error tells the form.
func ParseRate(text string) (Rate, error) {
	bad := fmt.Errorf("%q is not a rate: write COUNT/UNIT,BURST with UNIT s, min or h, such as 60/min,200, or off", text)
	text = strings.TrimSpace(text)
	if text == "off" {
		return Rate{Off: true}, nil
	}
	per, burst, ok1 := strings.Cut(text, ",")
	count, unit, ok2 := strings.Cut(per, "/")
	c, err1 := strconv.ParseFloat(strings.TrimSpace(count), 64)
	b, err2 := strconv.Atoi(strings.TrimSpace(burst))
	if !ok1 || !ok2 || err1 != nil || err2 != nil || !(c > 0 && c <= 1e12) || b < 1 {
		return Rate{}, bad
	}
	r := Rate{Count: c, Burst: b}
	switch unit = strings.TrimSpace(unit); unit {
	case "s":
		r.Per = time.Second
	case "min":
		r.Per = time.Minute
	case "h":
		r.Per = time.Hour
	default:
		d, err := time.ParseDuration(unit)
		if err != nil || d <= 0 {
			return Rate{}, bad
		}
		r.Per = d
	}
	return r, nil
}

// String is the form that ParseRate reads.
func (r Rate) String() string {
	if r.Off {
		return "off"
	}
	var unit string
	switch r.Per {
	case time.Second:
		unit = "s"
	case time.Minute:
		unit = "min"
	case time.Hour:
		unit = "h"
	default:
		unit = r.Per.String()
	}
	return strconv.FormatFloat(r.Count, 'f', -1, 64) + "/" + unit + "," + strconv.Itoa(r.Burst)
}

// perSecond is the rate of refilling.
func (r Rate) perSecond() rate.Limit { return rate.Limit(r.Count / r.Per.Seconds()) }

func (r Rate) limiter() *rate.Limiter { return rate.NewLimiter(r.perSecond(), r.Burst) }
