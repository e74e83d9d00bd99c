package guard

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestKeyOf(t *testing.T) {
	for _, c := range []struct {
		name, value, key string
		basic            bool
	}{
		{"Authorization", "Bearer secret", "secret", false},
		{"Authorization", "bearer secret", "secret", false},
		{"Authorization", "Bearer ", "", false},
		{"Authorization", "Bearer", "", false},
		{"Authorization", "Basic OnNlY3JldA==", "secret", true}, // :secret
		{"Authorization", "Basic ???", "", false},
		{"Authorization", "Digest x", "", false},
		{"X-API-Key", "secret", "secret", false},
		{"X-Other", "secret", "", false},
	} {
		h := http.Header{}
		h.Set(c.name, c.value)
		if key, basic := KeyOf(h); key != c.key || basic != c.basic {
			t.Errorf("%s: %s gives %q, %v, want %q, %v", c.name, c.value, key, basic, c.key, c.basic)
		}
	}
	both := http.Header{"Authorization": {"Digest x"}, "X-Api-Key": {"secret"}}
	if key, _ := KeyOf(both); key != "secret" {
		t.Errorf("beside another scheme: %q", key)
	}
}

func TestLocal(t *testing.T) {
	for _, c := range []struct {
		from, host, header string
		want               bool
	}{
		{"127.0.0.1:1", "127.0.0.1:8080", "", true},
		{"127.0.0.1:1", "localhost:8080", "", true},
		{"127.0.0.1:1", "LOCALHOST", "", true},
		{"[::1]:1", "[::1]:8080", "", true},
		{"[::1]:1", "[::1]", "", true},
		{"[::ffff:127.0.0.1]:1", "127.0.0.1", "", true},
		{"127.0.0.1:1", "evil.example:8080", "", false}, // DNS rebinding
		{"127.0.0.1:1", "10.0.0.1:8080", "", false},
		{"10.0.0.1:1", "127.0.0.1:8080", "", false},
		{"10.0.0.1:1", "localhost", "", false},
		{"127.0.0.1:1", "127.0.0.1:8080", "X-Forwarded-For", false},
		{"127.0.0.1:1", "127.0.0.1:8080", "Forwarded", false},
		{"127.0.0.1:1", "127.0.0.1:8080", "X-Real-IP", false},
		{"127.0.0.1:1", "127.0.0.1:8080", "X-Forwarded-Proto", false},
		{"127.0.0.1:1", "127.0.0.1:8080", "X-Forwarded-Host", false},
		{"127.0.0.1:1", "127.0.0.1:8080", "Via", false},
		{"pipe", "localhost", "", false},
		{"", "", "", false},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.RemoteAddr, r.Host = c.from, c.host
		if c.header != "" {
			r.Header.Set(c.header, "10.0.0.1")
		}
		if got := Local(r); got != c.want {
			t.Errorf("from %s for %s with %q: %v, want %v", c.from, c.host, c.header, got, c.want)
		}
	}
}
