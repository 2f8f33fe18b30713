package webhook

import (
	"encoding/binary"
	"math/bits"
)

// maxDepth bounds the nesting of a scanned body. The open brackets are kept as
// one bit each, so the scan needs no allocation whatever the body.
const maxDepth = 128

// space and digit are looked up for every byte between strings.
var (
	space = [256]bool{' ': true, '\t': true, '\n': true, '\r': true}
	digit = [256]bool{'0': true, '1': true, '2': true, '3': true, '4': true, '5': true, '6': true, '7': true, '8': true, '9': true}
	// escape holds what may follow a backslash, 'u' apart.
	escape = [256]bool{'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true}
)

// nibble is the value of a hexadecimal digit, 255 for every other byte.
var nibble = func() (t [256]byte) {
	for c := range t {
		t[c] = 0xff
	}
	for i := range byte(10) {
		t['0'+i] = i
	}
	for i := range byte(6) {
		t['a'+i], t['A'+i] = 10+i, 10+i
	}
	return t
}()

// skipSpace returns the index of the first byte at or after i that is no white
// space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && space[b[i]] {
		i++
	}
	return i
}

// skipString returns the index after the closing quote of the string whose
// first byte after the opening quote is at i, and -1 if there is none or the
// string is not valid JSON.
func skipString(b []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for {
		// Eight bytes at a time while none is a quote, a backslash or a control
		// byte: each of the three terms has the top bit of a byte set when that
		// byte is one. A false alarm is possible only above a true one.
		for i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			quote, back := x^(ones*'"'), x^(ones*'\\')
			m := ((quote-ones)&^quote | (back-ones)&^back | (x-ones*0x20)&^x) & tops
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(b) {
			return -1
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = skipEscape(b, i+1); i < 0 {
				return -1
			}
		case c < ' ':
			return -1
		default:
			i++
		}
	}
}

// skipEscape returns the index after the escape whose first byte after the
// backslash is at i, or -1.
func skipEscape(b []byte, i int) int {
	switch {
	case i >= len(b):
		return -1
	case escape[b[i]]:
		return i + 1
	case b[i] == 'u' && i+4 < len(b) && nibble[b[i+1]]|nibble[b[i+2]]|nibble[b[i+3]]|nibble[b[i+4]] < 16:
		return i + 5
	default:
		return -1
	}
}

// skipNumber returns the index after the number at i, or -1.
func skipNumber(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = skipDigits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = skipDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i
}

// skipDigits wants at least one digit.
func skipDigits(b []byte, i int) int {
	if i >= len(b) || !digit[b[i]] {
		return -1
	}
	for i < len(b) && digit[b[i]] {
		i++
	}
	return i
}

func skipLiteral(b []byte, i int, literal string) int {
	if len(b)-i < len(literal) || string(b[i:i+len(literal)]) != literal {
		return -1
	}
	return i + len(literal)
}

// brackets is the stack of open brackets, one bit each: 1 for an object.
type brackets struct {
	bits  [maxDepth / 64]uint64
	depth int
}

func (s *brackets) push(object bool) bool {
	if s.depth == maxDepth {
		return false
	}
	mask := uint64(1) << (s.depth & 63)
	if object {
		s.bits[s.depth>>6] |= mask
	} else {
		s.bits[s.depth>>6] &^= mask
	}
	s.depth++
	return true
}

func (s *brackets) inObject() bool {
	return s.bits[(s.depth-1)>>6]>>((s.depth-1)&63)&1 == 1
}

// skipValue returns the index after the value that begins at i or after white
// space there, and -1 if it is not valid JSON or nests too deep below depth.
func skipValue(b []byte, i, depth int) int {
	s := brackets{depth: depth}
	for {
		// A value.
		i = skipSpace(b, i)
		if i >= len(b) {
			return -1
		}
		switch b[i] {
		case '"':
			i = skipString(b, i+1)
		case '{':
			if !s.push(true) {
				return -1
			}
			if i = skipSpace(b, i+1); i < len(b) && b[i] == '}' {
				s.depth--
				i++
				break
			}
			if i = skipKey(b, i); i < 0 {
				return -1
			}
			continue
		case '[':
			if !s.push(false) {
				return -1
			}
			if i = skipSpace(b, i+1); i < len(b) && b[i] == ']' {
				s.depth--
				i++
				break
			}
			continue
		case 't':
			i = skipLiteral(b, i, "true")
		case 'f':
			i = skipLiteral(b, i, "false")
		case 'n':
			i = skipLiteral(b, i, "null")
		default:
			i = skipNumber(b, i)
		}
		if i < 0 {
			return -1
		}
		// What follows it: the ends of brackets, then a comma.
		for {
			if s.depth == depth {
				return i
			}
			i = skipSpace(b, i)
			if i >= len(b) {
				return -1
			}
			object := s.inObject()
			if b[i] == ',' {
				i++
				if object {
					if i = skipKey(b, skipSpace(b, i)); i < 0 {
						return -1
					}
				}
				break
			}
			if object && b[i] != '}' || !object && b[i] != ']' {
				return -1
			}
			s.depth--
			i++
		}
	}
}

// skipKey returns the index after the colon of the member that begins at i, or
// -1.
func skipKey(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	if i = skipString(b, i+1); i < 0 {
		return -1
	}
	if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
		return -1
	}
	return i + 1
}
