package bus

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// maxName bounds subjects, keys and names: a server refuses commands of more than 4 KiB.
const maxName = 255

// checkName accepts the name of a bucket or object store.
func checkName(name string) error {
	if !isWord(name) || strings.ContainsAny(name, "/=") || len(name) > maxName {
		return fmt.Errorf("name %q: use up to %d of a-z A-Z 0-9 - _ : %w", name, maxName, ErrBadName)
	}
	return nil
}

// checkSubject accepts what can be published to, and keys.
func checkSubject(subject string) error {
	if len(subject) > maxName {
		return fmt.Errorf("%.20q... has %d characters, at most %d are allowed: %w", subject, len(subject), maxName, ErrBadName)
	}
	for word := range strings.SplitSeq(subject, ".") {
		if !isWord(word) {
			return fmt.Errorf("%q: %w", subject, ErrBadName)
		}
	}
	return nil
}

// checkPattern accepts what can be subscribed to.
func checkPattern(pattern string) error {
	rest, ok := strings.CutSuffix(pattern, ".>")
	if !ok && pattern == ">" {
		return nil
	}
	words := strings.Split(rest, ".")
	for i, w := range words {
		if w == "*" {
			words[i] = "x" // any word will do
		}
	}
	if err := checkSubject(strings.Join(words, ".")); err != nil {
		return fmt.Errorf("pattern %q: besides whole words * and a last > alone: %w", pattern, ErrBadName)
	}
	return nil
}

// checkPrefix accepts the beginning of a key.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return checkSubject(strings.TrimSuffix(prefix, "."))
}

// checkDigest accepts the digest of an object.
func checkDigest(digest string) error {
	if b, err := hex.DecodeString(digest); err != nil || len(b) != 32 || strings.ToLower(digest) != digest {
		return fmt.Errorf("%q is not a digest, which has 64 lower-case hexadecimal characters: %w", digest, ErrBadName)
	}
	return nil
}

func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_/=", rune(c)) {
			return false
		}
	}
	return s != ""
}

// matches says whether a subject falls under a pattern, both valid.
func matches(pattern, subject string) bool {
	for {
		if pattern == ">" {
			return true
		}
		p, restPattern, morePattern := strings.Cut(pattern, ".")
		s, restSubject, moreSubject := strings.Cut(subject, ".")
		if p != "*" && p != s || morePattern != moreSubject {
			return false
		}
		if !morePattern {
			return true
		}
		pattern, subject = restPattern, restSubject
	}
}

func checkSize(data []byte) error {
	if len(data) > MaxMessage {
		return fmt.Errorf("%d bytes are more than %d: %w", len(data), MaxMessage, ErrTooLarge)
	}
	return nil
}
