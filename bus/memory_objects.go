package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
)

// memoryObjects is a store of Memory, under the lock of the hub.
type memoryObjects struct {
	conn    *Memory
	name    string
	content map[string][]byte // by digest
}

// Put implements Objects.
func (o *memoryObjects) Put(ctx context.Context, r io.Reader) (Object, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return Object{}, fmt.Errorf("put object into %s: read it: %w", o.name, err)
	}
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	err = o.locked(ctx, "put", digest, func() error {
		if _, ok := o.content[digest]; !ok {
			o.content[digest] = content
		}
		return nil
	})
	return Object{Digest: digest, Size: int64(len(content))}, err
}

// Get implements Objects.
func (o *memoryObjects) Get(ctx context.Context, digest string) (io.ReadCloser, error) {
	var content []byte
	err := o.locked(ctx, "get", digest, func() error {
		c, ok := o.content[digest]
		if !ok {
			return ErrNotFound
		}
		content = c
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newVerified(ctx, bytes.NewReader(content), digest), nil
}

// Has implements Objects.
func (o *memoryObjects) Has(ctx context.Context, digest string) (has bool, err error) {
	err = o.locked(ctx, "look for", digest, func() error {
		_, has = o.content[digest]
		return nil
	})
	return has, err
}

// Delete implements Objects.
func (o *memoryObjects) Delete(ctx context.Context, digest string) error {
	return o.locked(ctx, "delete", digest, func() error {
		delete(o.content, digest)
		return nil
	})
}

// List implements Objects.
func (o *memoryObjects) List(ctx context.Context) ([]Object, error) {
	o.conn.hub.mu.Lock()
	defer o.conn.hub.mu.Unlock()
	if err := o.conn.ready(ctx); err != nil {
		return nil, fmt.Errorf("list objects of %s: %w", o.name, err)
	}
	var list []Object
	for _, digest := range slices.Sorted(maps.Keys(o.content)) {
		list = append(list, Object{Digest: digest, Size: int64(len(o.content[digest]))})
	}
	return list, nil
}

// locked calls fn under the lock, once digest and state allow it, and says in its errors what was being done.
func (o *memoryObjects) locked(ctx context.Context, what, digest string, fn func() error) error {
	err := checkDigest(digest)
	if err == nil {
		o.conn.hub.mu.Lock()
		defer o.conn.hub.mu.Unlock()
		err = o.conn.ready(ctx)
	}
	if err == nil {
		err = fn()
	}
	if err != nil {
		return fmt.Errorf("%s object %s of %s: %w", what, digest, o.name, err)
	}
	return nil
}

// verified passes content on and compares its digest at the end.
type verified struct {
	ctx    context.Context // a reader has no other way to hear of its end
	r      io.Reader
	digest string
	hash   hash.Hash
}

func newVerified(ctx context.Context, r io.Reader, digest string) *verified {
	return &verified{ctx: ctx, r: r, digest: digest, hash: sha256.New()}
}

// Read implements io.Reader.
func (v *verified) Read(p []byte) (int, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, fmt.Errorf("read object %s: %w", v.digest, err)
	}
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(v.hash.Sum(nil)) != v.digest {
		err = fmt.Errorf("read object %s: %w", v.digest, ErrDamaged)
	}
	return n, err
}

// Close implements io.Closer.
func (v *verified) Close() error { return nil }
