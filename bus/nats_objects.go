package bus

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// chunkSize is how much of an object goes into one message. Read back as JSON it grows by a third and still fits.
const chunkSize = 256 << 10

// natsObjects is a stream laid out as NATS' own object stores: the chunks of a content under a subject of their own,
// in order, and a last message that describes it under its name, which here is the digest. Chunks are written and
// read one by one, so that each can be tried again; a content whose description was never written is not there.
type natsObjects struct {
	bus    *NATS
	name   string
	stream jetstream.Stream
}

// Objects implements Bus.
func (n *NATS) Objects(ctx context.Context, name string) (Objects, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("objects: %w", err)
	}
	s, err := n.stream(ctx, jetstream.StreamConfig{
		Name: "OBJ_" + name, Subjects: []string{"$O." + name + ".C.>", "$O." + name + ".M.>"},
		Discard: jetstream.DiscardNew, AllowRollup: true, Duplicates: 2 * time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("objects %s: %w", name, err)
	}
	return &natsObjects{bus: n, name: name, stream: s}, nil
}

func (o *natsObjects) chunks(id string) string { return "$O." + o.name + ".C." + id }

func (o *natsObjects) meta(digest string) string {
	return "$O." + o.name + ".M." + base64.URLEncoding.EncodeToString([]byte(digest))
}

// Put implements Objects.
func (o *natsObjects) Put(ctx context.Context, r io.Reader) (Object, error) {
	info := jetstream.ObjectInfo{Bucket: o.name, NUID: nuid.Next()}
	out, err := o.write(ctx, r, &info)
	if err == nil && !info.ModTime.IsZero() {
		return out, nil
	}
	// Whatever happened, the chunks just written serve nobody.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryTime)
	defer cancel()
	if purgeErr := o.purge(clean, o.chunks(info.NUID)); purgeErr != nil {
		o.bus.logger.Warn("bus keeps parts of an object that nobody needs", "objects", o.name, "error", purgeErr)
	}
	if err != nil {
		return Object{}, fmt.Errorf("put object into %s: %w", o.name, err)
	}
	return out, nil
}

// write stores chunks and description, the latter, with its time, only if the content is new.
func (o *natsObjects) write(ctx context.Context, r io.Reader, info *jetstream.ObjectInfo) (Object, error) {
	hash := sha256.New()
	buf := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			hash.Write(buf[:n])
			info.Size += uint64(n)
			info.Chunks++
			if err := o.publish(ctx, o.chunks(info.NUID), buf[:n], nats.Header{}); err != nil {
				return Object{}, err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return Object{}, fmt.Errorf("read it: %w", err)
		}
	}
	sum := hash.Sum(nil)
	out := Object{Digest: hex.EncodeToString(sum), Size: int64(info.Size)}
	if has, err := o.Has(ctx, out.Digest); has || err != nil {
		return out, err
	}
	info.Name, info.Digest = out.Digest, "SHA-256="+base64.URLEncoding.EncodeToString(sum)
	info.Opts = &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}
	info.ModTime = time.Now().UTC()
	data, err := json.Marshal(info)
	if err != nil {
		return Object{}, err
	}
	return out, o.publish(ctx, o.meta(out.Digest), data, nats.Header{"Nats-Rollup": {"sub"}})
}

func (o *natsObjects) publish(ctx context.Context, subject string, data []byte, h nats.Header) error {
	h.Set(headerID, nuid.Next())
	return o.bus.retry(ctx, func(ctx context.Context) error {
		_, err := o.bus.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: h, Data: data})
		return err
	})
}

func (o *natsObjects) purge(ctx context.Context, subject string) error {
	return o.bus.retry(ctx, func(ctx context.Context) error {
		return o.stream.Purge(ctx, jetstream.WithPurgeSubject(subject))
	})
}

// describe reads the description of a content.
func (o *natsObjects) describe(ctx context.Context, digest string) (info jetstream.ObjectInfo, err error) {
	if err := checkDigest(digest); err != nil {
		return info, err
	}
	var m *jetstream.RawStreamMsg
	err = o.bus.retry(ctx, func(ctx context.Context) error {
		m, err = o.stream.GetLastMsgForSubject(ctx, o.meta(digest))
		return err
	})
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return info, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	if info.Deleted { // by another tool
		return info, ErrNotFound
	}
	return info, nil
}

// wrap says in an error what was being done.
func (o *natsObjects) wrap(what, digest string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s object %s of %s: %w", what, digest, o.name, err)
}

// Get implements Objects.
func (o *natsObjects) Get(ctx context.Context, digest string) (io.ReadCloser, error) {
	info, err := o.describe(ctx, digest)
	if err != nil {
		return nil, o.wrap("get", digest, err)
	}
	r := &chunkReader{ctx: ctx, store: o, digest: digest, subject: o.chunks(info.NUID), left: info.Chunks}
	return newVerified(ctx, r, digest), nil
}

// Has implements Objects.
func (o *natsObjects) Has(ctx context.Context, digest string) (bool, error) {
	_, err := o.describe(ctx, digest)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, o.wrap("look for", digest, err)
}

// Delete implements Objects.
func (o *natsObjects) Delete(ctx context.Context, digest string) error {
	info, err := o.describe(ctx, digest)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrDamaged): // then only the description can be found
		return o.wrap("delete", digest, o.purge(ctx, o.meta(digest)))
	case err == nil:
		err = o.purge(ctx, o.meta(digest))
	}
	if err == nil {
		err = o.purge(ctx, o.chunks(info.NUID))
	}
	return o.wrap("delete", digest, err)
}

// List implements Objects.
func (o *natsObjects) List(ctx context.Context) ([]Object, error) {
	var info *jetstream.StreamInfo
	err := o.bus.retry(ctx, func(ctx context.Context) (err error) {
		info, err = o.stream.Info(ctx, jetstream.WithSubjectFilter("$O."+o.name+".M.>"))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list objects of %s: %w", o.name, err)
	}
	var list []Object
	for subject := range info.State.Subjects {
		name, err := base64.URLEncoding.DecodeString(subject[strings.LastIndexByte(subject, '.')+1:])
		if err != nil || checkDigest(string(name)) != nil {
			continue // put there by another tool
		}
		d, err := o.describe(ctx, string(name))
		if errors.Is(err, ErrNotFound) {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return nil, o.wrap("list", string(name), err)
		}
		list = append(list, Object{Digest: d.Name, Size: int64(d.Size)})
	}
	slices.SortFunc(list, func(a, b Object) int { return strings.Compare(a.Digest, b.Digest) })
	return list, nil
}

// chunkReader reads the chunks of a content in their order.
type chunkReader struct {
	ctx     context.Context // a reader has no other way to hear of its end
	store   *natsObjects
	digest  string
	subject string
	next    uint64 // sequence at which the next chunk is looked for
	left    uint32 // chunks to come
	chunk   []byte // what is left of the one at hand
}

// Read implements io.Reader.
func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		if err := r.fetch(); err != nil {
			return 0, r.store.wrap("read", r.digest, err)
		}
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

func (r *chunkReader) fetch() error {
	err := r.store.bus.retry(r.ctx, func(ctx context.Context) error {
		m, err := r.store.stream.GetMsg(ctx, max(r.next, 1), jetstream.WithGetMsgSubject(r.subject))
		if err == nil {
			r.chunk, r.next = m.Data, m.Sequence+1
		}
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("a part of it is missing: %w", ErrDamaged)
	}
	r.left--
	return err
}
