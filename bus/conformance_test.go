package bus_test

import (
	"context"
	"testing"
	"time"

	"weft/bus"
	"weft/bus/bustest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Fixture {
		m := bus.NewMemory()
		return bustest.Fixture{
			Connect: func(*testing.T) bus.Bus { return m.Connect() },
			Damage:  m.Damage,
		}
	})
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Fixture {
		e := embed(t, bus.EmbedOptions{Listen: "127.0.0.1:0", StateDir: t.TempDir()})
		return bustest.Fixture{
			Connect: func(t *testing.T) bus.Bus { return dial(t, e.URL(), bus.DialOptions{}) },
			Damage:  e.Damage,
		}
	})
}

func embed(t *testing.T, o bus.EmbedOptions) *bus.Embedded {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	e, err := bus.Embed(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func dial(t *testing.T, url string, o bus.DialOptions) *bus.NATS {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n, err := bus.Dial(ctx, []string{url}, o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
