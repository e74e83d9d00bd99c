package optimum_test

import (
	"bytes"
	"os"
	"testing"

	"weft/optimum"
)

// FuzzRecorded: instances that are read are written and read again.
func FuzzRecorded(f *testing.F) {
	recorded, err := os.ReadFile("testdata/instances.json")
	if err != nil {
		f.Fatal(err)
	}
	first, _, _ := bytes.Cut(recorded, []byte("},\n{\"name\""))
	f.Add(append(first, "}]"...))
	f.Add([]byte(`[{"name":"a","workers":1,"subnets":[{"name":"s","accuracy":0.5,"latency":[1000,1500]}],"requests":[{"at":0,"due":5000,"size":2}],"optimum":0.5}]`))
	f.Add([]byte(`[{"name":"a","workers":-1,"subnets":[{"name":"s","accuracy":2,"latency":[0]}],"requests":[{"at":9,"due":5,"size":-2,"subnet":"none"}]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := optimum.ReadRecorded(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := optimum.WriteRecorded(&again, list); err != nil {
			t.Fatalf("what was read can not be written: %v", err)
		}
		if back, err := optimum.ReadRecorded(&again); err != nil || len(back) != len(list) {
			t.Fatalf("%d of %d instances came back: %v", len(back), len(list), err)
		}
	})
}
