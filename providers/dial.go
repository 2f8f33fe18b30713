package providers

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// TransportConfig makes the transport that calls go out by.
type TransportConfig struct {
	// AllowPrivate lists address ranges that may be dialled although they are
	// private, for self-hosted servers in the host's own network. Loopback,
	// link-local and multicast addresses can be allowed the same way.
	AllowPrivate []netip.Prefix
	// Ports are those that may be dialled. Defaults to 443 alone.
	Ports []uint16
}

// NewTransport returns a transport that refuses to dial addresses which are not
// public, whatever name led to them: the check runs after the name was resolved,
// for each attempt and each redirect, so a name that changes its address in
// between gains nothing. It uses no proxy: behind one the address seen would be
// the proxy's. A refused dial is an error wrapping [ErrHostNotAllowed].
func NewTransport(cfg TransportConfig) *http.Transport {
	if len(cfg.Ports) == 0 {
		cfg.Ports = []uint16{443}
	}
	d := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second, Control: cfg.control}
	return &http.Transport{
		DialContext:           d.DialContext,
		TLSHandshakeTimeout:   3 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   16,
		ForceAttemptHTTP2:     true,
	}
}

func (cfg TransportConfig) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: dialled address is not an address", ErrHostNotAllowed)
	}
	if !cfg.allowsPort(ap.Port()) {
		return fmt.Errorf("%w: port %d", ErrHostNotAllowed, ap.Port())
	}
	addr := ap.Addr().Unmap().WithZone("")
	for _, p := range cfg.AllowPrivate {
		if p.Contains(addr) {
			return nil
		}
	}
	if !isPublic(addr) {
		return fmt.Errorf("%w: the name leads to an address that is not public", ErrHostNotAllowed)
	}
	return nil
}

func (cfg TransportConfig) allowsPort(port uint16) bool {
	for _, p := range cfg.Ports {
		if p == port {
			return true
		}
	}
	return false
}

// global6 is all the IPv6 space that IANA has given out for unicast
// (iana.org/assignments/ipv6-address-space). What is outside embeds IPv4
// addresses, is local, or is nobody's.
var global6 = netip.MustParsePrefix("2000::/3")

// notPublic are the ranges of the IANA special-purpose registries that netip's
// predicates and global6 let through, among them those that embed an IPv4
// address.
var notPublic = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"),
}

// isPublic reports whether addr is an address of the public internet. addr must
// be unmapped and without a zone.
func isPublic(addr netip.Addr) bool {
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() ||
		addr.IsMulticast() || addr.IsUnspecified() || addr.Is6() && !global6.Contains(addr) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
