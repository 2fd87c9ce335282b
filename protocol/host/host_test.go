package host_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
)

const echo = "/test/echo"

func open(t *testing.T, maxClients int, listen ...string) libp2phost.Host {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := host.Options{Key: key, MaxClients: maxClients}
	for _, s := range listen {
		o.Listen = append(o.Listen, ma.StringCast(s))
	}
	h, err := host.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	h.SetStreamHandler(echo, func(s network.Stream) {
		if _, err := io.Copy(s, s); err != nil {
			_ = s.Reset()
			return
		}
		_ = s.Close()
	})
	return h
}

func addrsOf(h libp2phost.Host, protocol int) []ma.Multiaddr {
	var found []ma.Multiaddr
	for _, a := range h.Addrs() {
		if _, err := a.ValueForProtocol(protocol); err == nil {
			found = append(found, a)
		}
	}
	return found
}

func TestListenUsesOnePortForBoth(t *testing.T) {
	h := open(t, 0, "/ip4/127.0.0.1/tcp/0")
	tcp, udp := addrsOf(h, ma.P_TCP), addrsOf(h, ma.P_QUIC_V1)
	if len(tcp) != 1 || len(udp) != 1 || len(h.Addrs()) != 2 {
		t.Fatalf("addresses %v, want one of TCP and one of QUIC", h.Addrs())
	}
	tcpPort, _ := tcp[0].ValueForProtocol(ma.P_TCP)
	udpPort, _ := udp[0].ValueForProtocol(ma.P_UDP)
	if tcpPort != udpPort || tcpPort == "0" {
		t.Errorf("TCP port %s, UDP port %s, want the same", tcpPort, udpPort)
	}
}

func TestTransfers(t *testing.T) {
	tests := []struct {
		name         string
		transport    int
		wantSecurity string
	}{
		{name: "tcp", transport: ma.P_TCP, wantSecurity: "/tls/1.0.0"},
		{name: "quic", transport: ma.P_QUIC_V1, wantSecurity: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := open(t, 10, "/ip4/127.0.0.1/tcp/0")
			client := open(t, 0)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := client.Connect(ctx, peer.AddrInfo{ID: server.ID(), Addrs: addrsOf(server, tt.transport)})
			if err != nil {
				t.Fatal(err)
			}
			state := client.Network().ConnsToPeer(server.ID())[0].ConnState()
			if string(state.Security) != tt.wantSecurity {
				t.Errorf("security %q, want %q", state.Security, tt.wantSecurity)
			}
			s, err := client.NewStream(ctx, server.ID(), echo)
			if err != nil {
				t.Fatal(err)
			}
			// Sizes around the records of TLS, the frames of yamux and the joined buffer.
			for _, n := range []int{1, 1023, 1025, 16 << 10, 64<<10 - 12, 64 << 10, 70 << 10, 1 << 20} {
				sent := make([]byte, n)
				_, _ = rand.Read(sent)
				failed := make(chan error, 1)
				go func() {
					_, err := s.Write(sent)
					failed <- err
				}()
				got := make([]byte, n)
				if _, err := io.ReadFull(s, got); err != nil {
					t.Fatalf("read %d bytes: %v", n, err)
				}
				if err := <-failed; err != nil {
					t.Fatalf("write %d bytes: %v", n, err)
				}
				if !bytes.Equal(got, sent) {
					t.Fatalf("%d bytes came back altered", n)
				}
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	assertInUse := func(t *testing.T, port int) {
		t.Helper()
		key, _, _ := crypto.GenerateEd25519Key(rand.Reader)
		_, err := host.New(host.Options{Key: key, Listen: []ma.Multiaddr{
			ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)),
		}})
		if protocol.CodeOf(err) != protocol.CodeAddrInUse || !strings.Contains(err.Error(), fmt.Sprintf("127.0.0.1:%d", port)) {
			t.Errorf("error %v, want E_ADDR_IN_USE with the address", err)
		}
	}
	t.Run("by somebody", func(t *testing.T) { assertInUse(t, taken.Addr().(*net.TCPAddr).Port) })
	t.Run("by one of ours", func(t *testing.T) {
		h := open(t, 0, "/ip4/127.0.0.1/tcp/0")
		var port int
		value, _ := addrsOf(h, ma.P_TCP)[0].ValueForProtocol(ma.P_TCP)
		_, _ = fmt.Sscan(value, &port)
		assertInUse(t, port)
	})
}

func TestAddressOfAnotherMachine(t *testing.T) {
	key, _, _ := crypto.GenerateEd25519Key(rand.Reader)
	_, err := host.New(host.Options{Key: key, Listen: []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/0")}})
	if protocol.CodeOf(err) != protocol.CodeConfig {
		t.Errorf("error %v, want E_CONFIG", err)
	}
}

func TestUDPPortTakenLeavesTCP(t *testing.T) {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	h := open(t, 0, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", udp.LocalAddr().(*net.UDPAddr).Port))
	if len(addrsOf(h, ma.P_TCP)) != 1 || len(addrsOf(h, ma.P_QUIC_V1)) != 0 {
		t.Errorf("addresses %v, want TCP alone", h.Addrs())
	}
}

func TestOtherKindsOfKeysAreRefused(t *testing.T) {
	key, _, err := crypto.GenerateSecp256k1Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	h := open(t, 0, "/ip4/127.0.0.1/tcp/0")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = stranger.Connect(ctx, peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
	if err == nil {
		// A dialer that is refused may learn it with its first stream.
		_, err = stranger.NewStream(ctx, h.ID(), echo)
	}
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want a refusal", err)
	}
}

func TestControlStreamsPerClient(t *testing.T) {
	server := open(t, 5, "/ip4/127.0.0.1/tcp/0")
	client := open(t, 0)
	server.SetStreamHandler(protocol.TrackerProtocol, func(s network.Stream) {
		if _, err := s.Write([]byte{1}); err != nil {
			_ = s.Reset()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := client.Connect(ctx, peer.AddrInfo{ID: server.ID(), Addrs: server.Addrs()}); err != nil {
		t.Fatal(err)
	}
	served := 0
	for range 20 {
		s, err := client.NewStream(ctx, server.ID(), protocol.TrackerProtocol)
		if err != nil {
			break
		}
		if _, err := s.Read(make([]byte, 1)); err != nil {
			break
		}
		served++
	}
	if served != 16 {
		t.Errorf("%d streams at once, want 16", served)
	}
}
