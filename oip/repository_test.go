package oip_test

import (
	"net/http/httptest"
	"testing"
	"time"
)

// deadlined is a response whose time to be written is bounded.
type deadlined struct {
	*httptest.ResponseRecorder
	until time.Time
}

// SetWriteDeadline is what http.ResponseController looks for.
func (d *deadlined) SetWriteDeadline(until time.Time) error {
	d.until = until
	return nil
}

// A model may take longer to load than other requests to be answered.
func TestLoadTakesItsTime(t *testing.T) {
	h := guarded(t, nil)
	for path, bounded := range map[string]bool{"/v2/repository/models/toy/load": false, "/v2/repository/index": true} {
		r := httptest.NewRequest("POST", path, nil)
		r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
		w := &deadlined{httptest.NewRecorder(), time.Now().Add(time.Minute)}
		if h.ServeHTTP(w, r); w.Code != 200 || w.until.IsZero() == bounded {
			t.Errorf("%s: %d until %v", path, w.Code, w.until)
		}
	}
}
