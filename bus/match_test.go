package bus

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"
)

// Patterns mean what they mean to NATS' server, and what is accepted here is accepted there.
func TestMatchesAsNATS(t *testing.T) {
	literal, wild := []string{"a", "b", "A=/_-9"}, []string{"a", "b", "a", "*", "*"}
	name := func(r *rapid.T, label string, words []string) string {
		out := rapid.SliceOfN(rapid.SampledFrom(words), 1, 4).Draw(r, label)
		if end := rapid.SampledFrom([]string{"", "", "", "", ">", "a*", "*", "a..b"}).Draw(r, label+"'s end"); end != "" {
			out = append(out, end)
		}
		return strings.Join(out, ".")
	}
	valid, matched, refused := 0, 0, 0
	compare := func(r *rapid.T) {
		pattern, subject := name(r, "pattern", wild), name(r, "subject", literal)
		if checkPattern(pattern) == nil && !server.IsValidSubject(pattern) {
			r.Fatalf("pattern %q is accepted, but not by NATS", pattern)
		}
		if checkSubject(subject) == nil && !server.IsValidPublishSubject(subject) {
			r.Fatalf("subject %q is accepted, but not by NATS", subject)
		}
		if checkPattern(pattern) != nil || checkSubject(subject) != nil {
			refused++
			return
		}
		valid++
		if want := server.SubjectMatchesFilter(subject, pattern); matches(pattern, subject) != want {
			r.Fatalf("%q matches %q: %v, NATS says %v", pattern, subject, !want, want)
		} else if want {
			matched++
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		for range 20 {
			compare(r)
		}
	})
	if matched < 5 {
		t.Errorf("only %d pairs match: too few to tell", matched)
	}
	t.Logf("%d pairs compared, %d of them match, %d refused", valid, matched, refused)
}

// Names that look alike are told apart by the rules, for subjects as for patterns.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"a", "a.b", "a..b", ".", "a.*", "*", ">", "a.>", "a>.b", "é", "\x00", strings.Repeat("a", 256)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		subject, pattern := checkSubject(s) == nil, checkPattern(s) == nil
		if subject && !pattern {
			t.Errorf("%q is a subject but no pattern", s)
		}
		if pattern && !server.IsValidSubject(s) || subject && !server.IsValidPublishSubject(s) {
			t.Errorf("%q is accepted, but not by NATS", s)
		}
		if subject && !matches(s, s) {
			t.Errorf("%q does not match itself", s)
		}
		if subject && checkPrefix(s+".") != nil && len(s) < maxName {
			t.Errorf("%q begins no key", s+".")
		}
	})
}
