package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Params are the costs of one Argon2id hash.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// defaultParams cost 33 ms and 19 MiB a hash on the machine of the design.
func defaultParams() Params { return Params{Memory: 19 << 10, Time: 2, Threads: 1} }

// What a stored record may ask for at most. Without it one forged record of
// 4 GiB would end every tracker at that user's next login.
const (
	maxMemory  = 64 << 10 // KiB
	maxTime    = 5
	maxThreads = 4
)

const (
	saltBytes = 16
	hashBytes = 32
)

// errRecord is returned for a stored hash that is malformed or asks for more
// than this tracker is ready to spend.
var errRecord = errors.New("password record is not usable")

// record is a stored hash, taken apart.
type record struct {
	params Params
	salt   []byte
	hash   []byte
}

// String is the PHC form: $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH.
func (r record) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", r.params.Memory, r.params.Time, r.params.Threads,
		enc.EncodeToString(r.salt), enc.EncodeToString(r.hash))
}

// parseRecord accepts exactly what String makes, within the clamps.
func parseRecord(phc string) (record, error) {
	// Longest: 4-byte costs, 64-byte salt and hash in base64.
	if len(phc) > 300 {
		return record{}, errRecord
	}
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return record{}, errRecord
	}
	var r record
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &r.params.Memory, &r.params.Time, &r.params.Threads); n != 3 || err != nil {
		return record{}, errRecord
	}
	enc := base64.RawStdEncoding.Strict()
	var err1, err2 error
	r.salt, err1 = enc.DecodeString(parts[4])
	r.hash, err2 = enc.DecodeString(parts[5])
	if err1 != nil || err2 != nil || !r.params.usable() ||
		len(r.salt) < 8 || len(r.salt) > 64 || len(r.hash) < 16 || len(r.hash) > 64 || r.String() != phc {
		return record{}, errRecord
	}
	return r, nil
}

func (p Params) cost() uint64 { return uint64(p.Memory) * uint64(p.Time) }

func (p Params) usable() bool {
	return p.Threads >= 1 && p.Threads <= maxThreads && p.Time >= 1 && p.Time <= maxTime &&
		p.Memory >= 8*uint32(p.Threads) && p.Memory <= maxMemory
}
