package bustest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"weft/bus"
)

func objects(t *testing.T, f Fixture) {
	t.Run("come back as they were", f.roundTrip)
	t.Run("are kept once", f.once)
	t.Run("that are damaged are noticed", f.damaged)
	t.Run("are there whole or not at all", f.interrupted)
}

// content is random but the same for the same size.
func content(size int) []byte {
	source := rand.NewChaCha8([32]byte{byte(size)})
	data := make([]byte, size)
	source.Read(data) //nolint:errcheck // it has none
	return data
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func get(ctx context.Context, o bus.Objects, digest string) ([]byte, error) {
	r, err := o.Get(ctx, digest)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func (f Fixture) roundTrip(t *testing.T) {
	ctx := within(t)
	in, err := f.connect(t).Objects(ctx, "things")
	must(t, err)
	out, err := f.connect(t).Objects(ctx, "things")
	must(t, err)
	var all []string
	for _, size := range []int{0, 1, 256 << 10, 256<<10 + 1, 12 << 20} {
		data := content(size)
		o, err := in.Put(ctx, iotest.HalfReader(bytes.NewReader(data)))
		must(t, err)
		if o.Digest != digest(data) || o.Size != int64(size) {
			t.Errorf("put %d bytes: got %+v", size, o)
		}
		if has, err := out.Has(ctx, o.Digest); !has || err != nil {
			t.Errorf("has %d bytes: %v, %v", size, has, err)
		}
		back, err := get(ctx, out, o.Digest)
		must(t, err)
		if !bytes.Equal(back, data) {
			t.Errorf("%d bytes came back otherwise", size)
		}
		all = append(all, o.Digest)
	}
	slices.Sort(all)
	list, err := out.List(ctx)
	must(t, err)
	var listed []string
	for _, o := range list {
		listed = append(listed, o.Digest)
		if data, err := get(ctx, out, o.Digest); err != nil || int64(len(data)) != o.Size {
			t.Errorf("listed with %d bytes: got %d, %v", o.Size, len(data), err)
		}
	}
	if !slices.Equal(listed, all) {
		t.Errorf("listed %v, want %v", listed, all)
	}
	must(t, out.Delete(ctx, all[0]))
	must(t, out.Delete(ctx, all[0]))
	if has, err := in.Has(ctx, all[0]); has || err != nil {
		t.Errorf("deleted: %v, %v", has, err)
	}
	if _, err := in.Get(ctx, all[0]); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("get what was deleted: %v, want ErrNotFound", err)
	}
	for _, bad := range []string{"", "abc", strings.ToUpper(all[1]), all[1] + "00", strings.Repeat("x", 64)} {
		if _, err := in.Get(ctx, bad); !errors.Is(err, bus.ErrBadName) {
			t.Errorf("get %q: %v, want ErrBadName", bad, err)
		}
	}
}

// once puts the same content from several connections at the same time and then again.
func (f Fixture) once(t *testing.T) {
	ctx, data := within(t), content(600_000)
	var group sync.WaitGroup
	for range 4 {
		o, err := f.connect(t).Objects(ctx, "same")
		must(t, err)
		group.Go(func() {
			for range 2 {
				if _, err := o.Put(ctx, bytes.NewReader(data)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	o, err := f.connect(t).Objects(ctx, "same")
	must(t, err)
	list, err := o.List(ctx)
	must(t, err)
	if len(list) != 1 || list[0] != (bus.Object{Digest: digest(data), Size: int64(len(data))}) {
		t.Errorf("listed %v", list)
	}
	if back, err := get(ctx, o, digest(data)); err != nil || !bytes.Equal(back, data) {
		t.Errorf("got %d bytes back, %v", len(back), err)
	}
}

func (f Fixture) damaged(t *testing.T) {
	ctx := within(t)
	o, err := f.connect(t).Objects(ctx, "broken")
	must(t, err)
	for i, lose := range []bool{false, true} {
		data := content(700_000 + i)
		put, err := o.Put(ctx, bytes.NewReader(data))
		must(t, err)
		f.Damage(t, "broken", put.Digest, lose)
		if back, err := get(ctx, o, put.Digest); !errors.Is(err, bus.ErrDamaged) {
			t.Errorf("lose=%v: got %d bytes and %v, want ErrDamaged", lose, len(back), err)
		}
		must(t, o.Delete(ctx, put.Digest))
		_, err = o.Put(ctx, bytes.NewReader(data))
		must(t, err)
		if back, err := get(ctx, o, put.Digest); err != nil || !bytes.Equal(back, data) {
			t.Errorf("lose=%v: put again: %v", lose, err)
		}
	}
}

func (f Fixture) interrupted(t *testing.T) {
	ctx := within(t)
	o, err := f.connect(t).Objects(ctx, "partial")
	must(t, err)
	broken := errors.New("the disk is gone")
	if _, err = o.Put(ctx, io.MultiReader(bytes.NewReader(content(500_000)), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("put what can't be read: %v", err)
	}
	if list, err := o.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v", list, err)
	}
	put, err := o.Put(ctx, bytes.NewReader(content(500_000)))
	must(t, err)
	short, cancel := context.WithCancel(ctx)
	r, err := o.Get(short, put.Digest)
	must(t, err)
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("read on after the end: %v, want the context's end", err)
	}
}
