package kernel

import (
	"slices"
	"strings"
	"testing"
)

// TestTiers: plain Go is always there and last, and every tier can be chosen.
func TestTiers(t *testing.T) {
	names := Tiers()
	if names[len(names)-1] != "go" {
		t.Fatalf("tiers are %v: want go to be the last", names)
	}
	was := Tier()
	for _, name := range names {
		restore := UseTier(name)
		if Tier() != name {
			t.Errorf("in use is %q after UseTier(%q)", Tier(), name)
		}
		restore()
	}
	if Tier() != was || !slices.Contains(names, was) {
		t.Errorf("in use is %q, it was %q of %v", Tier(), was, names)
	}
}

// TestUnknownTier: a name from the environment that does not exist is answered by those that do.
func TestUnknownTier(t *testing.T) {
	defer func() {
		got, _ := recover().(string)
		if !strings.Contains(got, `WEFT_KERNEL is "mmx"`) || !strings.Contains(got, strings.Join(Tiers(), ", ")) {
			t.Errorf("panics with %q", got)
		}
	}()
	choose("mmx")
}
