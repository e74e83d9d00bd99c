package dash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Event is one of a server's events; one field is not nil.
type Event struct {
	Hello  *Hello  `json:"hello,omitempty"`
	Models []Model `json:"models,omitempty"`
	Tick   *Tick   `json:"tick,omitempty"`
}

// ErrNoPage means that a server has no live page.
var ErrNoPage = errors.New("the server has no live page: it was started with --no-dash, or is another program")

// maxEvent bounds an event's length.
const maxEvent = 16 << 20

// Watch follows the server at base, http://HOST[:PORT] or https://HOST[:PORT],
// and calls on with each of its events: a Hello, the models, and ticks, of which
// Hello.Missed events are of the past. key is the API key to present ("": none).
// It returns when ctx ends, when on returns an error, which it returns, or when
// the server ends the stream, with io.ErrUnexpectedEOF.
func Watch(ctx context.Context, client *http.Client, base, key string, on func(Event) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+"/dash/events", http.NoBody)
	if err != nil {
		return fmt.Errorf("watch %s: %w", base, err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer resp.Body.Close()
	if err := accepted(resp); err != nil {
		return fmt.Errorf("watch %s: %w", base, err)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	var name string
	for lines.Scan() {
		line := lines.Bytes()
		if rest, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			name = string(rest)
			continue
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		e, err := decode(name, data)
		if err != nil {
			return fmt.Errorf("watch %s: %w", base, err)
		}
		if err := on(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("watch %s: %w", base, err)
	}
	return fmt.Errorf("watch %s: the server ended the stream: %w", base, io.ErrUnexpectedEOF)
}

// accepted returns why a server refuses, unless it streams.
func accepted(resp *http.Response) error {
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return nil
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNotFound {
		return ErrNoPage
	}
	var refusal struct{ Error string }
	if body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10)); err == nil && json.Unmarshal(body, &refusal) == nil && refusal.Error != "" {
		return errors.New(refusal.Error)
	}
	return fmt.Errorf("the server answers %s", resp.Status)
}

// decode reads an event. Those of other names are empty.
func decode(name string, data []byte) (e Event, err error) {
	switch name {
	case eventHello:
		err = json.Unmarshal(data, &e.Hello)
	case eventModels:
		err = json.Unmarshal(data, &e.Models)
	case eventTick:
		err = json.Unmarshal(data, &e.Tick)
	}
	if err != nil {
		return Event{}, fmt.Errorf("read the event %s: %w", name, err)
	}
	return e, nil
}
