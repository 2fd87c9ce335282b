// Package netns makes hosts of network namespaces, for tests that need more
// than one address, or a network that can be cut: a bridge in a namespace of its
// own joins them, so that nothing of the machine's own network is touched or
// heard. Only tests import it. It needs Linux, root and iproute2.
package netns

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// LAN is hosts joined by a bridge. It ends with the test, and by then nothing
// may run on its hosts.
type LAN struct {
	t      testing.TB
	prefix string
	hosts  map[string]*Host
}

// Host is one of them. The nil Host is this machine, on loopback.
type Host struct {
	// Addr is its IPv4 address.
	Addr string
	ns   string
}

// Missing says why this system does not let us make hosts, "" if it does.
func Missing() string {
	if runtime.GOOS != "linux" {
		return "network namespaces are a thing of Linux"
	}
	if os.Getuid() != 0 {
		return "making network namespaces needs root"
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return "ip is missing: install iproute2"
	}
	name := "p2pd-try-" + strings.ToLower(rand.Text()[:8])
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		return fmt.Sprintf("this system does not let us make network namespaces: %v: %s", err, out)
	}
	if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
		return fmt.Sprintf("a network namespace cannot be deleted: %v: %s", err, out)
	}
	return ""
}

// New makes hosts, numbered from 10.78.0.1 on. Where the system does not let it,
// the test is skipped with the reason.
func New(t testing.TB, hosts ...string) *LAN {
	t.Helper()
	if reason := Missing(); reason != "" {
		t.Skip(reason)
	}
	l := &LAN{
		t: t, prefix: fmt.Sprintf("p2pd%x-%s-", os.Getpid(), strings.ToLower(rand.Text()[:4])), hosts: map[string]*Host{},
	}
	bridge := l.prefix + "lan"
	l.IP("netns", "add", bridge)
	t.Cleanup(func() { l.IP("netns", "del", bridge) })
	l.IP("-n", bridge, "link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
	l.IP("-n", bridge, "link", "set", "bridge", "up")
	for i, name := range hosts {
		h := &Host{Addr: fmt.Sprintf("10.78.0.%d", i+1), ns: l.prefix + name}
		l.hosts[name] = h
		l.IP("netns", "add", h.ns)
		t.Cleanup(func() { l.IP("netns", "del", h.ns) })
		l.IP("link", "add", "eth0", "netns", h.ns, "type", "veth", "peer", "name", "to-"+name, "netns", bridge)
		l.IP("-n", h.ns, "addr", "add", h.Addr+"/24", "dev", "eth0")
		l.IP("-n", h.ns, "link", "set", "lo", "up")
		l.IP("-n", h.ns, "link", "set", "eth0", "up")
		l.IP("-n", bridge, "link", "set", "to-"+name, "master", "bridge", "up")
	}
	return l
}

// Host returns the host of that name.
func (l *LAN) Host(name string) *Host { return l.hosts[name] }

// IP runs ip, which must succeed.
func (l *LAN) IP(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Errorf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// Namespace is the host's, as ip knows it.
func (h *Host) Namespace() string { return h.ns }

// Address is that of the host; loopback of this machine's.
func (h *Host) Address() string {
	if h == nil {
		return "127.0.0.1"
	}
	return h.Addr
}

// Command is a command on the host.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if h == nil {
		return exec.CommandContext(ctx, name, args...)
	}
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
}

// DialContext connects from the host to a literal address: a name would be
// looked up from this machine.
func (h *Host) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	if h == nil {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	err = h.on(func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// ListenUDP opens a socket on the host.
func (h *Host) ListenUDP(network string, addr *net.UDPAddr) (c net.PacketConn, err error) {
	if h == nil {
		return net.ListenUDP(network, addr)
	}
	err = h.on(func() error {
		c, err = net.ListenUDP(network, addr)
		return err
	})
	return c, err
}
