package normalize

import (
	"bytes"
	"net/netip"
	"strconv"
	"unsafe"
)

// maxAddress is longer than every address with brackets, zone and port that is worth a look.
const maxAddress = 128

// parseAddress reads an address as the services write it: 192.0.2.1, 192.0.2.1:443, 2001:db8::1, [2001:db8::1]:443, with blanks
// around, with a zone, mapped into IPv6. port is -1 where there is none.
func parseAddress(s []byte) (addr netip.Addr, port int, ok bool) {
	s = bytes.TrimSpace(s)
	port = -1
	if len(s) == 0 || len(s) > maxAddress {
		return addr, port, false
	}
	host, rest := s, []byte(nil)
	if s[0] == '[' {
		end := bytes.IndexByte(s, ']')
		if end < 0 {
			return addr, port, false
		}
		host, rest = s[1:end], s[end+1:]
	} else if i := bytes.IndexByte(s, ':'); i >= 0 && i == bytes.LastIndexByte(s, ':') {
		host, rest = s[:i], s[i:]
	}
	if len(rest) > 0 {
		if port, ok = parsePort(rest); !ok {
			return addr, port, false
		}
	}
	if i := bytes.IndexByte(host, '%'); i >= 0 {
		host = host[:i]
	}
	if !looksLikeAddress(host) {
		return addr, port, false
	}
	// ParseAddr wants a string. This one shares the memory of host, which nobody writes to meanwhile, and nothing keeps it: of a
	// text without a zone an Addr holds only numbers, and the error, which holds the text, is dropped here.
	addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(host), len(host)))
	return addr.Unmap(), port, err == nil
}

// isPlainIPv4 tells whether a text is an IPv4 address just as it would be written.
func isPlainIPv4(s []byte) bool {
	const longest = len("255.255.255.255")
	if len(s) > longest {
		return false
	}
	dots, value, digits := 0, 0, 0 // value and digits of the part that is read
	for _, c := range s {
		switch {
		case '0' <= c && c <= '9':
			if digits > 0 && value == 0 {
				return false // a leading zero
			}
			value = 10*value + int(c-'0')
			digits++
			if value > 255 {
				return false
			}
		case c == '.' && digits > 0:
			dots++
			value, digits = 0, 0
		default:
			return false
		}
	}
	return dots == 3 && digits > 0
}

// looksLikeAddress tells whether a text has only characters of addresses without a zone. It spares what else services write
// here, such as <null>, the making of an error.
func looksLikeAddress(host []byte) bool {
	for _, c := range host {
		isDigit := '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
		if !isDigit && c != '.' && c != ':' {
			return false
		}
	}
	return len(host) > 0
}

// parsePort reads a colon and a port.
func parsePort(s []byte) (port int, ok bool) {
	const longest = len(":65535")
	if s[0] != ':' || len(s) == 1 || len(s) > longest {
		return 0, false
	}
	for _, c := range s[1:] {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	v, err := strconv.ParseUint(string(s[1:]), 10, 16)
	return int(v), err == nil
}
