package dash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Names of the events of a stream. Each has JSON: a Hello, a list of Model, a Tick.
const (
	eventHello  = "hello"  // comes first
	eventModels = "models" // comes next, and again when the models change
	eventTick   = "tick"
)

// hub hands events to viewers. A tick is encoded once, however many look on.
type hub struct {
	most int // viewers

	mu      sync.Mutex
	models  []byte   // the latest event of that name; nil: none yet
	ring    [][]byte // the latest ticks; the oldest is at next once the ring is full
	next    int
	viewers map[chan []byte]bool
	closed  bool
}

// backlog is how many events a viewer may be behind. Who is slower is sent away,
// and will come back for the history.
const backlog = 16

// event returns an event as it goes over the wire.
func event(name string, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the event %s: %w", name, err)
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, data), nil
}

// publish remembers the tick and hands it out. models is not nil when they have
// changed; the history begins anew then, as its ticks are about others.
func (h *hub) publish(tick *Tick, models []Model) error {
	data, err := event(eventTick, tick)
	if err != nil {
		return err
	}
	var changed []byte
	if models != nil {
		if changed, err = event(eventModels, models); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if changed != nil {
		h.models = changed
		h.ring, h.next = h.ring[:0], 0
		h.send(changed)
	}
	if len(h.ring) < cap(h.ring) {
		h.ring = append(h.ring, data)
	} else {
		h.ring[h.next] = data
		h.next = (h.next + 1) % len(h.ring)
	}
	h.send(data)
	return nil
}

// send hands the event to every viewer that keeps up. h.mu is held.
func (h *hub) send(data []byte) {
	for v := range h.viewers {
		select {
		case v <- data:
		default:
			delete(h.viewers, v)
			close(v)
		}
	}
}

// join returns a viewer's events, and what it missed: models and the latest
// ticks. It returns nil where there is no room, or nothing to come.
func (h *hub) join() (events chan []byte, missed [][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.viewers) >= h.most {
		return nil, nil
	}
	if h.models != nil {
		missed = append(missed, h.models)
	}
	missed = append(missed, h.ring[h.next:]...)
	missed = append(missed, h.ring[:h.next]...)
	events = make(chan []byte, backlog)
	h.viewers[events] = true
	return events, missed
}

func (h *hub) leave(events chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.viewers, events)
}

// close sends all viewers away.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for v := range h.viewers {
		delete(h.viewers, v)
		close(v)
	}
}

// writeTimeout bounds the time that events take to be written.
const writeTimeout = 10 * time.Second

// events streams what happens until the viewer leaves.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	events, missed := p.hub.join()
	if events == nil {
		w.Header().Set("Retry-After", "2")
		refuse(w, http.StatusServiceUnavailable, "the server is stopping or too many look on already: try again later")
		return
	}
	defer p.hub.leave(events)
	hello, err := event(eventHello, Hello{
		Version: p.opt.Version, TickMS: round(p.opt.Interval), Window: cap(p.hub.ring), Missed: len(missed),
	})
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // proxies are to pass events on at once
	s := stream{w, http.NewResponseController(w)}
	// The server's timeouts are those of requests. A stream goes on as long as each event gets through.
	if err := s.control.SetReadDeadline(time.Time{}); err != nil {
		refuse(w, http.StatusNotImplemented, "this connection can not stream: "+err.Error())
		return
	}
	if err := s.write(append([][]byte{hello}, missed...)...); err != nil {
		return // the viewer is gone
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case data, ok := <-events:
			if !ok || s.write(data) != nil {
				return
			}
		}
	}
}

// stream is a response that goes on.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// write sends events on their way at once.
func (s *stream) write(events ...[]byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	for _, e := range events {
		if _, err := s.w.Write(e); err != nil {
			return err
		}
	}
	return s.control.Flush()
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	//nolint:errcheck,errchkjson // a client that is gone needs no answer
	json.NewEncoder(w).Encode(v)
}

// refuse answers with an error in one sentence, as package oip does.
func refuse(w http.ResponseWriter, status int, sentence string) {
	answer(w, status, map[string]string{"error": sentence})
}
