package bus_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"weft/bus"
)

func Example() {
	b := bus.NewMemory()
	defer b.Close()
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()

	// A worker says that it is there. It would put the key again before five seconds are over.
	workers, _ := b.Bucket(ctx, "workers", bus.BucketOptions{TTL: 5 * time.Second})
	workers.Put(ctx, "a1", []byte("host:8082"))

	// A router learns of it, whichever of them came first.
	changes, _ := workers.Watch(ctx, "")
	for c := range changes {
		if c.Kind == bus.Current {
			break
		}
		fmt.Printf("%v %s %s\n", c.Kind, c.Key, c.Value)
	}

	// Large things are kept under their digest.
	bundles, _ := b.Objects(ctx, "bundles")
	o, _ := bundles.Put(ctx, strings.NewReader("weights"))
	fmt.Println(o.Digest[:8], o.Size, "bytes")

	// Questions go to whoever listens.
	stopLoad, _ := b.Subscribe(ctx, "load.*", func(m bus.Message) { m.Respond([]byte("0.7")) })
	defer stopLoad()
	answer, _ := b.Request(ctx, "load.a1", nil)
	fmt.Println("load", string(answer))
	// Output:
	// put a1 host:8082
	// 9a129038 7 bytes
	// load 0.7
}
