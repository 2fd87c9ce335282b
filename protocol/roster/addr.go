package roster

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
)

// ParseAddr parses one address as it may stand in the list: a multiaddr of a
// host and a TCP port, with or without /p2p, or IP:PORT, or IP and PORT with
// space between. The address is returned without /p2p; the id is empty where
// there was none. E_CONFIG.
func ParseAddr(text string) (ma.Multiaddr, peer.ID, error) {
	if strings.HasPrefix(text, "/") {
		return parseMultiaddr(text)
	}
	bare := text
	if ip, port, two := fields(text); two {
		bare = net.JoinHostPort(ip, port)
	}
	at, err := netip.ParseAddrPort(bare)
	if err != nil || at.Addr().Zone() != "" {
		return nil, "", fault(text, "is neither IP:PORT nor a multiaddr such as /ip4/192.0.2.1/tcp/5000")
	}
	kind := "ip4"
	if at.Addr().Unmap().Is6() {
		kind = "ip6"
	}
	addr, err := ma.NewMultiaddr("/" + kind + "/" + at.Addr().Unmap().String() + "/tcp/" + strconv.Itoa(int(at.Port())))
	if err != nil {
		return nil, "", fault(text, "is no address: "+err.Error())
	}
	return addr, "", nil
}

// fields splits "IP PORT". An IPv6 address needs no brackets there.
func fields(text string) (ip, port string, ok bool) {
	parts := strings.Fields(text)
	if len(parts) != 2 {
		return "", "", false
	}
	if _, err := netip.ParseAddr(parts[0]); err != nil {
		return "", "", false
	}
	return parts[0], parts[1], true
}

func parseMultiaddr(text string) (ma.Multiaddr, peer.ID, error) {
	full, err := ma.NewMultiaddr(text)
	if err != nil {
		return nil, "", fault(text, "is no multiaddr: "+protocol.Printable(err.Error()))
	}
	addr, last := ma.SplitLast(full)
	var id peer.ID
	if last != nil && last.Protocol().Code == ma.P_P2P {
		if id, err = peer.IDFromBytes(last.RawValue()); err != nil {
			return nil, "", fault(text, "does not end with a peer id: "+err.Error())
		}
	} else {
		addr = full
	}
	if !isHostTCP(addr) {
		return nil, "", fault(text, "must be a host and a TCP port, as /ip4/192.0.2.1/tcp/5000 (QUIC is reached at the same port by itself), with or without /p2p and an id behind")
	}
	return addr, id, nil
}

// isHostTCP reports whether the address is one component for the host and one
// for the TCP port: whatever else libp2p can dial has no QUIC twin
// at the same port, and is nothing that trackers listen on.
func isHostTCP(addr ma.Multiaddr) bool {
	if len(addr) != 2 || addr[1].Protocol().Code != ma.P_TCP {
		return false
	}
	switch addr[0].Protocol().Code {
	case ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		return true
	default:
		return false
	}
}

// undialable says why nobody could dial the address, or "". Such addresses are
// good for listening, so ParseAddr takes them.
func undialable(addr ma.Multiaddr) string {
	if addr[1].Value() == "0" {
		return "has no port"
	}
	if ip, err := netip.ParseAddr(addr[0].Value()); err == nil && (ip.IsUnspecified() || ip.IsMulticast()) {
		return "names no machine that others could reach"
	}
	return ""
}

// Format returns the line of an entry with its id.
func Format(addr ma.Multiaddr, id peer.ID) string {
	return addr.String() + "/p2p/" + id.String()
}

// quic is where the same tracker answers QUIC.
func quic(addr ma.Multiaddr) (ma.Multiaddr, error) {
	return ma.NewMultiaddr(ma.Multiaddr{addr[0]}.String() + "/udp/" + addr[1].Value() + "/quic-v1")
}

// hostPort is the short form for a person.
func hostPort(addr ma.Multiaddr) string {
	if !isHostTCP(addr) {
		return addr.String()
	}
	return net.JoinHostPort(addr[0].Value(), addr[1].Value())
}

func fault(text, reason string) error {
	return protocol.Errorf(protocol.CodeConfig, "%s %s", protocol.Quote(text), reason)
}
