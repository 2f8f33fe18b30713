package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

// FuzzF4Signatures: of a list of signatures those of version 1 among the first 32
// are taken, as a plain reading of the specification takes them, and nothing else.
func FuzzF4Signatures(f *testing.F) {
	good := "v1," + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, list := range []string{"", " ", good, good + " " + good, "v1a," + good[3:] + " " + good, "v2,x  " + good, good + "\n", "v1,\n" + good[3:],
		strings.Repeat("v1,x ", 31) + good, strings.Repeat("v1,x ", 32) + good, strings.Repeat(good+" ", 40)} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		var macs [maxSignatures][sha256.Size]byte
		n := parseSignatures(&macs, list)
		var want [][]byte
		for _, entry := range strings.SplitN(list, " ", maxSignatures+1)[:min(maxSignatures, strings.Count(list, " ")+1)] {
			version, encoded, _ := strings.Cut(entry, ",")
			mac, err := base64.StdEncoding.Strict().DecodeString(encoded)
			if version == "v1" && err == nil && len(mac) == sha256.Size && !strings.ContainsAny(encoded, "\r\n") {
				want = append(want, mac)
			}
		}
		if n != len(want) {
			t.Fatalf("%d signatures, want %d", n, len(want))
		}
		for i, w := range want {
			if !bytes.Equal(macs[i][:], w) {
				t.Fatalf("signature %d differs", i)
			}
		}
	})
}
