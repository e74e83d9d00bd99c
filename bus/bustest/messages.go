package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/bus"
)

func messages(t *testing.T, f Fixture) {
	t.Run("reach who subscribes", f.publish)
	t.Run("follow wildcards", f.wildcards)
	t.Run("are answered", f.request)
	t.Run("have limits", f.limits)
	t.Run("are dropped by slow subscribers alone", f.slow)
}

func (f Fixture) publish(t *testing.T) {
	ctx, a, b := within(t), f.connect(t), f.connect(t)
	got := make(chan string, 2000)
	stop, err := b.Subscribe(ctx, "order.of.messages", func(m bus.Message) { got <- m.Subject + "=" + string(m.Data) })
	must(t, err)
	data := []byte("0")
	for i := range 1000 {
		data = fmt.Appendf(data[:0], "%d", i) // the same memory each time: the bus must have copied it
		must(t, a.Publish(ctx, "order.of.messages", data))
	}
	for i := range 1000 {
		if m, want := receive(ctx, t, got), fmt.Sprintf("order.of.messages=%d", i); m != want {
			t.Fatalf("got %s, want %s", m, want)
		}
	}
	stop()
	stop() // once more does no harm
	must(t, b.Publish(ctx, "order.of.messages", nil))
	echo := make(chan bus.Message, 1)
	stop, err = b.Subscribe(ctx, "echo", func(m bus.Message) { echo <- m })
	must(t, err)
	defer stop()
	must(t, b.Publish(ctx, "echo", nil))
	if m := receive(ctx, t, echo); len(m.Data) != 0 || m.Subject != "echo" {
		t.Errorf("got %v, want an empty message", m)
	}
	if len(got) != 0 {
		t.Error("a message came after stop")
	}
	if err := (bus.Message{}).Respond(nil); err == nil {
		t.Error("a message that wants no answer was answered")
	}
}

func (f Fixture) wildcards(t *testing.T) {
	ctx, b := within(t), f.connect(t)
	got := map[string]chan string{}
	for _, pattern := range []string{"w.a.b", "w.*.b", "w.a.*", "w.>", "w.a.>", "*.a.b", "w.*.*.d"} {
		c := make(chan string, 100)
		got[pattern] = c
		stop, err := b.Subscribe(ctx, pattern, func(m bus.Message) { c <- m.Subject })
		must(t, err)
		defer stop()
	}
	for _, s := range []string{"w.a.b", "w.x.b", "w.a.x", "w.a", "w.a.b.c", "w", "w.1.2.d", "x.a.b", "w.end.b"} {
		must(t, b.Publish(ctx, s, nil))
	}
	// Each pattern gets exactly these, in order; the last of them shows that nothing else was on its way.
	for pattern, want := range map[string][]string{
		"w.a.b": {"w.a.b"}, "w.*.b": {"w.a.b", "w.x.b", "w.end.b"}, "w.a.*": {"w.a.b", "w.a.x"},
		"w.>":   {"w.a.b", "w.x.b", "w.a.x", "w.a", "w.a.b.c", "w.1.2.d", "w.end.b"},
		"w.a.>": {"w.a.b", "w.a.x", "w.a.b.c"}, "*.a.b": {"w.a.b", "x.a.b"}, "w.*.*.d": {"w.1.2.d"},
	} {
		var all []string
		for range want {
			all = append(all, receive(ctx, t, got[pattern]))
		}
		if !slices.Equal(all, want) {
			t.Errorf("%s got %v, want %v", pattern, all, want)
		}
	}
}

func (f Fixture) request(t *testing.T) {
	ctx, a, b := within(t), f.connect(t), f.connect(t)
	start := time.Now()
	if _, err := a.Request(ctx, "nobody.here", nil); !errors.Is(err, bus.ErrNoResponder) {
		t.Errorf("request that nobody answers: %v, want ErrNoResponder", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v to say that nobody answers", took)
	}
	stop, err := b.Subscribe(ctx, "double.*", func(m bus.Message) {
		if err := m.Respond([]byte(string(m.Data) + string(m.Data))); err != nil {
			t.Errorf("respond: %v", err)
		}
		if err := m.Respond([]byte("second answer")); err != nil {
			t.Errorf("respond again: %v", err)
		}
	})
	must(t, err)
	defer stop()
	for _, word := range []string{"a", "b", ""} {
		answer, err := a.Request(ctx, "double.it", []byte(word))
		if err != nil || string(answer) != word+word {
			t.Errorf("got %q, %v, want %q", answer, err, word+word)
		}
	}
	silent, err := b.Subscribe(ctx, "silent", func(bus.Message) {})
	must(t, err)
	defer silent()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := a.Request(short, "silent", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("request without an answer: %v, want the context's end", err)
	}
}

func (f Fixture) limits(t *testing.T) {
	ctx, b := within(t), f.connect(t)
	got := make(chan int, 1)
	stop, err := b.Subscribe(ctx, "large", func(m bus.Message) { got <- len(m.Data) })
	must(t, err)
	defer stop()
	must(t, b.Publish(ctx, "large", make([]byte, bus.MaxMessage)))
	if n := receive(ctx, t, got); n != bus.MaxMessage {
		t.Errorf("got %d bytes", n)
	}
	over := make([]byte, bus.MaxMessage+1)
	if err := b.Publish(ctx, "large", over); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("publish: %v, want ErrTooLarge", err)
	}
	if _, err := b.Request(ctx, "large", over); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("request: %v, want ErrTooLarge", err)
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "a b", "a\n", "*", "a.*", ">", "a.>", "a*", "$SYS.x", "é", strings.Repeat("x", 256)} {
		if err := b.Publish(ctx, bad, nil); !errors.Is(err, bus.ErrBadName) {
			t.Errorf("publish to %q: %v, want ErrBadName", bad, err)
		}
		if _, err := b.Request(ctx, bad, nil); !errors.Is(err, bus.ErrBadName) {
			t.Errorf("request on %q: %v, want ErrBadName", bad, err)
		}
	}
	for _, bad := range []string{"", "a*", "*a", "a.>.b", ">.>", "a.>>", "a..>", ".>", "$JS.>", "a b.*"} {
		if _, err := b.Subscribe(ctx, bad, func(bus.Message) {}); !errors.Is(err, bus.ErrBadName) {
			t.Errorf("subscribe to %q: %v, want ErrBadName", bad, err)
		}
	}
}

func (f Fixture) slow(t *testing.T) {
	const sent = 20_000 // more than wait for a subscriber
	ctx, a, b := within(t), f.connect(t), f.connect(t)
	blocked, release := make(chan int, sent), make(chan struct{})
	stop, err := b.Subscribe(ctx, "flood", func(bus.Message) { <-release; blocked <- 1 })
	must(t, err)
	defer stop()
	other := make(chan int, 1)
	stopOther, err := b.Subscribe(ctx, "other", func(bus.Message) { other <- 1 })
	must(t, err)
	defer stopOther()
	for range sent {
		must(t, a.Publish(ctx, "flood", []byte("x")))
	}
	must(t, a.Publish(ctx, "other", nil))
	receive(ctx, t, other) // though the same connection has a subscriber that is stuck
	var lost uint64
	for lost == 0 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
		lost = b.Status().Dropped
	}
	close(release)
	for range sent - lost {
		receive(ctx, t, blocked)
	}
	if now := b.Status().Dropped; now != lost || lost == 0 {
		t.Errorf("dropped %d, later %d", lost, now)
	}
}
