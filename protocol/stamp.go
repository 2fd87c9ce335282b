package protocol

import (
	"cmp"
	"strconv"
	"strings"
)

// Stamp is a reading of a hybrid logical clock: wall time as far as the clocks
// of the trackers agree, and an order among all changes in any case.
type Stamp struct {
	Wall    int64  // Unix milliseconds
	Logical uint32 // orders readings within one millisecond
	Origin  string // peer ID of the tracker that read the clock
}

// Compare orders by wall, logical, origin; the zero Stamp is before all others.
func (s Stamp) Compare(t Stamp) int {
	return cmp.Or(cmp.Compare(s.Wall, t.Wall), cmp.Compare(s.Logical, t.Logical), cmp.Compare(s.Origin, t.Origin))
}

// After reports whether s is later than t.
func (s Stamp) After(t Stamp) bool { return s.Compare(t) > 0 }

// IsZero reports whether s is unset.
func (s Stamp) IsZero() bool { return s == Stamp{} }

// String is the form in headers and logs: wall-logical-origin.
func (s Stamp) String() string {
	return strconv.FormatInt(s.Wall, 10) + "-" + strconv.FormatUint(uint64(s.Logical), 10) + "-" + s.Origin
}

// ParseStamp undoes String. Errors: E_USAGE.
func ParseStamp(text string) (Stamp, error) {
	wall, rest, ok1 := strings.Cut(text, "-")
	logical, origin, ok2 := strings.Cut(rest, "-")
	w, err1 := strconv.ParseInt(wall, 10, 64)
	l, err2 := strconv.ParseUint(logical, 10, 32)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || len(origin) > 128 {
		return Stamp{}, Errorf(CodeUsage, "a stamp is not valid")
	}
	return Stamp{Wall: w, Logical: uint32(l), Origin: origin}, nil
}
