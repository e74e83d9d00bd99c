package kept_test

import (
	"os"
	"path/filepath"
	"testing"

	"weft/experiments/kept"
)

type key struct {
	Load   string
	Policy string `json:"-"` // does not tell results apart
}

func open(t *testing.T, dir string, context ...any) *kept.Store[key, int] {
	t.Helper()
	s, err := kept.New[key, int](dir, context...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := open(t, dir, "program", 1)
	if err := s.Put(key{"a", "x"}, 7); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		store *kept.Store[key, int]
		key   key
		want  int
		ok    bool
	}{
		{"the same", s, key{"a", "x"}, 7, true},
		{"opened again", open(t, dir, "program", 1), key{"a", "y"}, 7, true},
		{"another key", s, key{"b", "x"}, 0, false},
		{"another context", open(t, dir, "program", 2), key{"a", "x"}, 0, false},
		{"nowhere", open(t, "", "program", 1), key{"a", "x"}, 0, false},
	} {
		if got, ok, err := c.store.Get(c.key); got != c.want || ok != c.ok || err != nil {
			t.Errorf("%s: %v, %v, %v", c.name, got, ok, err)
		}
	}
	if err := open(t, "").Put(key{}, 1); err != nil {
		t.Error(err)
	}
}

// TestHalfWritten: a file that can't be read as a result counts as none.
func TestHalfWritten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Put(key{Load: "a"}, 7); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	for _, half := range []string{`{"resu`, `{}`} {
		if err := os.WriteFile(files[0], []byte(half), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := s.Get(key{Load: "a"}); ok || err != nil {
			t.Errorf("%s: %v, %v", half, ok, err)
		}
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(files[0], 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(key{Load: "a"}); err == nil {
		t.Error("a folder is read as a result")
	}
}
