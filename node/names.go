package node

import (
	"strings"
	"sync"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// maxNames bounds what is remembered of names; past it all is forgotten, which
// costs no more than a check that a name still means the same.
const maxNames = 20_000

// maxShown is above every name that a tracker can show: that of a file has 200
// bytes and a suffix of 33. What is longer is none, and not remembered.
const maxShown = 256

// names remembers which ids were shown for names last. Requests carry them, so
// that a name which means somebody else by now is noticed.
type names struct {
	mu     sync.Mutex
	groups map[string][]byte // by lower-case name
	users  map[string][]byte
}

func (s *names) group(name string) *pb.GroupRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &pb.GroupRef{Name: name, Id: s.groups[strings.ToLower(name)]}
}

func (s *names) user(name string) *pb.UserRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &pb.UserRef{Name: name, Id: s.users[strings.ToLower(name)]}
}

func (s *names) sawGroup(name string, id []byte) { s.saw(&s.groups, name, id) }
func (s *names) sawUser(name string, id []byte)  { s.saw(&s.users, name, id) }

func (s *names) saw(m *map[string][]byte, name string, id []byte) {
	if name == "" || len(name) > maxShown || len(id) != len(protocol.GroupID{}) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if *m == nil || len(*m) >= maxNames {
		*m = map[string][]byte{}
	}
	(*m)[strings.ToLower(name)] = id
}

// check forgets the names of a request that met E_RENAMED: the user has been
// told, and means whom the name means now when using it again.
func (s *names) check(err error, group, user string) error {
	if protocol.CodeOf(err) == protocol.CodeRenamed {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.groups, strings.ToLower(group))
		delete(s.users, strings.ToLower(user))
	}
	return err
}
