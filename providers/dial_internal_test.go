package providers

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPublicAddressesAreAllowed(t *testing.T) {
	for _, s := range []string{"8.8.8.8", "1.1.1.1", "140.82.112.3", "192.0.1.1", "198.17.255.255", "198.20.0.1", "100.63.255.255", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"} {
		require.True(t, isPublic(netip.MustParseAddr(s)), s)
	}
}

func TestAllowPrivateAllowsItsRangeOnly(t *testing.T) {
	cfg := TransportConfig{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, Ports: []uint16{443, 8443}}
	require.NoError(t, cfg.control("tcp", "10.1.2.3:8443", nil))
	require.NoError(t, cfg.control("tcp", "[::ffff:10.1.2.3]:443", nil))
	require.ErrorIs(t, cfg.control("tcp", "10.2.0.1:443", nil), ErrHostNotAllowed)
	require.ErrorIs(t, cfg.control("tcp", "10.1.2.3:22", nil), ErrHostNotAllowed)
	require.ErrorIs(t, cfg.control("tcp", "not an address", nil), ErrHostNotAllowed)
}

// FuzzF8PublicAddress: no embedding of a forbidden IPv4 address in an IPv6 one
// passes, and the ranges are those of an independent list.
func FuzzF8PublicAddress(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "10.0.0.1", "8.8.8.8", "169.254.169.254", "::1", "64:ff9b::a00:1", "2002:a00:1::", "2001:0:a00:1::", "fe80::1", "2606:4700::1"} {
		b := netip.MustParseAddr(s).As16()
		f.Add(b[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 16 {
			return
		}
		addr := netip.AddrFrom16([16]byte(b)).Unmap()
		if addr.Is4() {
			v := binary.BigEndian.Uint32(addr.AsSlice())
			require.Equal(t, !forbidden4(v), isPublic(addr), addr)
			return
		}
		if !isPublic(addr) {
			return
		}
		// All the public unicast space there is begins with the bits 001; a few
		// ranges of it carry an IPv4 address or are not of the internet.
		require.Equal(t, byte(1), b[0]>>5, addr)
		hi := binary.BigEndian.Uint64(b[:8])
		for _, embed := range []bool{
			hi>>48 == 0x2002,                          // 6to4
			hi>>32 == 0x2001_0000,                     // Teredo
			hi>>32 == 0x2001_0db8, hi>>44 == 0x3fff_0, // documentation
		} {
			require.False(t, embed, addr)
		}
	})
}

// forbidden4 is written from the registry's ranges as numbers, apart from the
// code under test.
func forbidden4(v uint32) bool {
	a, b, c := v>>24, v>>16&0xff, v>>8&0xff
	switch {
	case a == 0, a == 10, a == 127, a >= 224:
		return true
	case a == 100:
		return b >= 64 && b <= 127
	case a == 169:
		return b == 254
	case a == 172:
		return b >= 16 && b <= 31
	case a == 192:
		return b == 168 || b == 0 && (c == 0 || c == 2) || b == 88 && c == 99
	case a == 198:
		return b == 18 || b == 19 || b == 51 && c == 100
	case a == 203:
		return b == 0 && c == 113
	}
	return false
}
