package guard

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// keysFile writes a file of keys and returns its path.
func keysFile(t testing.TB, keys ...Key) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := Write(path, keys); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, keys ...Key) *Guard {
	t.Helper()
	for i := range keys {
		if keys[i].Tenant == "" {
			keys[i].Tenant = keys[i].Name
		}
	}
	g, err := Open(keysFile(t, keys...), start)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func hash(key string) Digest { return sha256.Sum256([]byte(key)) }

// Who may do what: every right, with every kind of key, from here and elsewhere.
func TestRights(t *testing.T) {
	g := open(t, Key{Name: "user", SHA256: hash("u")}, Key{Name: "boss", SHA256: hash("a"), Admin: true})
	long := strings.Repeat("x", maxKey+1)
	for _, c := range []struct {
		g     *Guard
		key   string
		local bool
		want  [4]error // Probe, Use, Observe, Change
	}{
		{nil, "", false, [4]error{nil, nil, nil, ErrNotLocal}},
		{nil, "u", false, [4]error{nil, nil, nil, ErrNotLocal}},
		{nil, "", true, [4]error{}},
		{g, "", false, [4]error{nil, ErrNoKey, ErrNoKey, ErrNoKey}},
		{g, "", true, [4]error{nil, ErrNoKey, ErrNoKey, ErrNoKey}},
		{g, "wrong", true, [4]error{nil, ErrUnknownKey, ErrUnknownKey, ErrUnknownKey}},
		{g, long, true, [4]error{nil, ErrUnknownKey, ErrUnknownKey, ErrUnknownKey}},
		{g, "u", true, [4]error{nil, nil, ErrNotAdmin, ErrNotAdmin}},
		{g, "a", false, [4]error{}},
	} {
		for right, want := range c.want {
			client, err := c.g.Allow(Right(right), c.key, c.local)
			if !errors.Is(err, want) || (want == nil) != (err == nil) {
				t.Errorf("key %.10q, local %v, right %d: %v, want %v", c.key, c.local, right, err, want)
			}
			if known := c.g != nil && err == nil && Right(right) != Probe; known != (client != nil) {
				t.Errorf("key %.10q, right %d: client %v", c.key, right, client)
			}
		}
	}
}

func TestModelsOfAKey(t *testing.T) {
	g := open(t, Key{Name: "one", SHA256: hash("1"), Models: []string{"m"}, Tenant: "t", Share: 2}, Key{Name: "all", SHA256: hash("2")})
	one, _ := g.Allow(Use, "1", false)
	all, _ := g.Allow(Use, "2", false)
	var nobody *Client
	for _, c := range []struct {
		client *Client
		model  string
		want   error
	}{{one, "m", nil}, {one, "n", ErrModel}, {one, "", ErrModel}, {all, "n", nil}, {nobody, "n", nil}} {
		if err := c.client.May(c.model); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%v may use %q: %v, want %v", c.client, c.model, err, c.want)
		}
	}
	if one.TenantName() != "t" || all.TenantName() != "all" || nobody.TenantName() != "" {
		t.Errorf("tenants %q, %q, %q", one.TenantName(), all.TenantName(), nobody.TenantName())
	}
	if got := g.Shares(); !cmp.Equal(got, map[string]float64{"t": 2}) {
		t.Errorf("shares %v", got)
	}
}

// A hash that only begins like that of a key is not the key's: it is the
// comparison that decides, not the search.
func TestComparisonDecides(t *testing.T) {
	d := hash("secret")
	for bit := 64; bit < 8*len(d); bit++ {
		near := d
		near[bit/8] ^= 1 << (bit % 8)
		g := open(t, Key{Name: "near", SHA256: near})
		if _, err := g.Allow(Use, "secret", true); !errors.Is(err, ErrUnknownKey) {
			t.Fatalf("a hash that differs in bit %d is taken for the key's: %v", bit, err)
		}
	}
	near := d
	near[31] ^= 1
	g := open(t, Key{Name: "near", SHA256: near}, Key{Name: "right", SHA256: d})
	if c, err := g.Allow(Use, "secret", true); err != nil || c.Name != "right" {
		t.Errorf("beside one that begins alike: %v, %v", c, err)
	}
}

// The functions that handle hashes of presented keys compare them by crypto/subtle alone.
func TestComparisonIsConstantTime(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "guard.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	subtle := false
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Name.Name != "known" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				subtle = subtle || n.Sel.Name == "ConstantTimeCompare"
				if n.Sel.Name == "Equal" {
					t.Error("a hash is compared by Equal")
				}
			case *ast.BinaryExpr: // ConstantTimeCompare(...) == 1 alone
				if _, ok := n.X.(*ast.CallExpr); !ok {
					t.Error("a comparison of something other than the result of ConstantTimeCompare")
				}
			}
			return true
		})
	}
	if !subtle {
		t.Error("known does not call subtle.ConstantTimeCompare")
	}
}

func TestNewKeysDiffer(t *testing.T) {
	a, da := NewKey()
	b, db := NewKey()
	if a == b || da == db || hash(a) != da || len(a) != len("weft-")+26 {
		t.Errorf("%q %v, %q %v", a, da, b, db)
	}
}

func TestFileOfKeys(t *testing.T) {
	keys := []Key{
		{Name: "a", SHA256: hash("a"), Tenant: "acme", Share: 2, Rate: 0.5, Burst: 3, Concurrent: 4, Admin: true, Models: []string{"m", "n"}},
		{Name: "b", SHA256: hash("b"), Tenant: "acme"},
	}
	path := keysFile(t, keys...)
	got, err := Read(path)
	if err != nil || !cmp.Equal(got, keys) {
		t.Errorf("read back %v, %v", got, err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !json.Valid(data) {
		t.Errorf("%s, %v", data, err)
	}
	if empty, err := Read(keysFile(t)); err != nil || len(empty) != 0 {
		t.Errorf("a file without keys: %v, %v", empty, err)
	}
}

func TestRefusedFilesOfKeys(t *testing.T) {
	h := `"sha256":"` + strings.Repeat("ab", 32) + `"`
	other := `"sha256":"` + strings.Repeat("cd", 32) + `"`
	for text, want := range map[string]string{
		``:                                       "no file of keys",
		`[]`:                                     "no file of keys",
		`{"keys":[]} x`:                          "something follows",
		`{"keys":[{"nam":"a"}]}`:                 `unknown field "nam"`,
		`{"keys":[{"name":"a"}]}`:                "sha256 is missing",
		`{"keys":[{` + h + `}]}`:                 "name and tenant",
		`{"keys":[{"name":"\u0007",` + h + `}]}`: "control character",
		`{"keys":[{"name":"a","sha256":"ab"}]}`:  "64 hexadecimal digits",
		`{"keys":[{"name":"a",` + h + `},{"name":"a",` + other + `}]}`:                                               `two keys have the name "a"`,
		`{"keys":[{"name":"a",` + h + `},{"name":"b",` + h + `}]}`:                                                   `"a" and "b" are the same`,
		`{"keys":[{"name":"a",` + h + `,"rate":-1}]}`:                                                                "the rate is -1",
		`{"keys":[{"name":"a",` + h + `,"rate":1e10}]}`:                                                              "the rate is 1e+10",
		`{"keys":[{"name":"a",` + h + `,"burst":1}]}`:                                                                "together with a rate",
		`{"keys":[{"name":"a",` + h + `,"rate":1,"burst":-1}]}`:                                                      "the burst is -1",
		`{"keys":[{"name":"a",` + h + `,"concurrent":-1}]}`:                                                          "concurrent is -1",
		`{"keys":[{"name":"a",` + h + `,"share":-1}]}`:                                                               "the share is -1",
		`{"keys":[{"name":"a",` + h + `,"models":[""]}]}`:                                                            "a model has no name",
		`{"keys":[{"name":"a","tenant":"t","share":1,` + h + `},{"name":"b","tenant":"t","share":2,` + other + `}]}`: "has the share 2 already",
	} {
		_, err := Parse([]byte(text))
		if want == "has the share 2 already" {
			want = "has the share 1 already"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n\t%v, want %q", text, err, want)
		}
	}
}

// FuzzKeys: what is accepted is written and read back the same.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":[{"name":"a","sha256":"` + strings.Repeat("ab", 32) + `","tenant":"t","share":2,"rate":1.5,"burst":2,"concurrent":3,"admin":true,"models":["m"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := Parse(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(document{keys})
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(again)
		if err != nil || !cmp.Equal(keys, back) && len(keys) > 0 {
			t.Fatalf("%s\ncame back as %v, %v", again, back, err)
		}
		next := make(table)
		for _, k := range keys {
			next.add(k, nil, start)
		}
	})
}

// A file that is read again changes who is known; a bad one changes nothing.
func TestReload(t *testing.T) {
	path := keysFile(t, Key{Name: "a", SHA256: hash("a"), Tenant: "a"})
	g, err := Open(path, start)
	if err != nil {
		t.Fatal(err)
	}
	known := func(key string) bool {
		_, err := g.Allow(Use, key, false)
		return err == nil
	}
	if changed, err := g.Reload(start); changed || err != nil {
		t.Errorf("an untouched file: %v, %v", changed, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := g.Reload(start); changed || err == nil || !strings.Contains(err.Error(), path) || !known("a") {
		t.Errorf("a bad file: %v, %v, known %v", changed, err, known("a"))
	}
	if err := Write(path, []Key{{Name: "b", SHA256: hash("b"), Tenant: "b"}}); err != nil {
		t.Fatal(err)
	}
	if changed, err := g.Reload(start); !changed || err != nil || known("a") || !known("b") {
		t.Errorf("another key: %v, %v, knows a %v, b %v", changed, err, known("a"), known("b"))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Reload(start); !errors.Is(err, os.ErrNotExist) || !known("b") {
		t.Errorf("no file: %v", err)
	}
	if _, err := Open(path, start); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opened without a file: %v", err)
	}
	if _, err := Open(os.DevNull, start); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a device: %v", err)
	}
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, start); err == nil || !strings.Contains(err.Error(), "no file of keys") {
		t.Errorf("a huge file: %v", err)
	}
}
