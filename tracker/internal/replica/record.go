package replica

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// recordVersion begins each stored value.
const recordVersion = 1

// maxOrigin bounds the tracker's name in a stamp; peer IDs have 52 characters today.
const maxOrigin = 128

var errRecord = errors.New("a stored fact cannot be read")

// toRecord is what the store keeps of a fact: version, wall and logical of the
// stamp as uvarints, origin behind its length, value.
func toRecord(f catalog.Fact) store.Record {
	b := make([]byte, 0, 16+len(f.Stamp.Origin)+len(f.Value))
	b = append(b, recordVersion)
	b = binary.AppendUvarint(b, uint64(f.Stamp.Wall))
	b = binary.AppendUvarint(b, uint64(f.Stamp.Logical))
	b = binary.AppendUvarint(b, uint64(len(f.Stamp.Origin)))
	b = append(b, f.Stamp.Origin...)
	return store.Record{Key: string(f.Key), Value: append(b, f.Value...)}
}

// fromRecord undoes toRecord; the fact shares nothing with r.
func fromRecord(r store.Record) (catalog.Fact, error) {
	b := r.Value
	if len(b) == 0 || b[0] != recordVersion {
		return catalog.Fact{}, errRecord
	}
	b = b[1:]
	var numbers [3]uint64
	for i := range numbers {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return catalog.Fact{}, errRecord
		}
		numbers[i], b = v, b[n:]
	}
	if numbers[1] > 1<<32-1 || numbers[2] > maxOrigin || numbers[2] > uint64(len(b)) {
		return catalog.Fact{}, errRecord
	}
	origin := string(b[:numbers[2]])
	return catalog.Fact{
		Key:   catalog.Key(r.Key),
		Value: append([]byte{}, b[numbers[2]:]...),
		Stamp: protocol.Stamp{Wall: int64(numbers[0]), Logical: uint32(numbers[1]), Origin: origin},
	}, nil
}

func toStamp(s protocol.Stamp) *pb.Stamp {
	return &pb.Stamp{WallMs: s.Wall, Logical: s.Logical, Origin: s.Origin}
}

func toFact(f catalog.Fact) *pb.Fact {
	return &pb.Fact{Key: string(f.Key), Value: f.Value, Stamp: toStamp(f.Stamp)}
}

func toFactID(f catalog.Fact) *pb.FactID {
	return &pb.FactID{Key: string(f.Key), Stamp: toStamp(f.Stamp)}
}

func fromStamp(s *pb.Stamp) (protocol.Stamp, error) {
	if s.GetWallMs() <= 0 || s.GetOrigin() == "" || len(s.GetOrigin()) > maxOrigin {
		return protocol.Stamp{}, errors.New("stamp out of range")
	}
	return protocol.Stamp{Wall: s.GetWallMs(), Logical: s.GetLogical(), Origin: s.GetOrigin()}, nil
}

// fromFact checks a fact from another tracker as the catalog will.
func fromFact(f *pb.Fact) (catalog.Fact, error) {
	s, err := fromStamp(f.GetStamp())
	if err != nil {
		return catalog.Fact{}, fmt.Errorf("fact %s: %w", protocol.Quote(f.GetKey()), err)
	}
	out := catalog.Fact{Key: catalog.Key(f.GetKey()), Value: f.GetValue(), Stamp: s}
	return out, catalog.Check(out)
}
