package compare

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func point(subnet string, batch int, peer, weft float64) Point {
	return Point{
		Peer: "other", Work: "infer", Space: "s", Subnet: subnet, Pixels: 32, Batch: batch, Threads: 1,
		PeerUS: peer, WeftUS: weft, Ratio: peer / weft, Rounds: 3,
	}
}

func TestMerge(t *testing.T) {
	old := []Point{point("a", 1, 1, 1), point("b", 1, 2, 1)}
	got := Merge(old, []Point{point("b", 1, 3, 1), point("b", 8, 4, 1)})
	want := []Point{point("a", 1, 1, 1), point("b", 1, 3, 1), point("b", 8, 4, 1)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if old[1].PeerUS != 2 {
		t.Error("the old points were changed")
	}
}

func TestFilesComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.json")
	var none []Point
	if err := Read(path, &none); err != nil || none != nil {
		t.Errorf("a missing file: %v, %v", none, err)
	}
	want := []Point{point("a", 1, 1.5, 1)}
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	var got []Point
	if err := Read(path, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Read(path, &got); err == nil || !strings.Contains(err.Error(), "peers.json") {
		t.Errorf("half a file: %v", err)
	}
}

func TestTable(t *testing.T) {
	busy := point("large", 8, 90, 100)
	busy.Others = 0.2
	other := point("a", 1, 3000, 1000)
	other.Work = "train"
	var b strings.Builder
	if err := Table(&b, []Point{point("small", 1, 30, 20), point("large", 1, 60, 10), busy, other}); err != nil {
		t.Fatal(err)
	}
	want := `
infer against other: s, 32 pixels; µs of the peer / µs of weft = ratio
subnet  b1 1T           b8 1T
small   30 / 20 = 1.50  -
large   60 / 10 = 6.00  90 / 100 = 0.90 *

train against other: s, 32 pixels; µs of the peer / µs of weft = ratio
subnet  b1 1T
a       3000 / 1000 = 3.00
`
	if b.String() != want {
		t.Errorf("got:%s\nwant:%s", b.String(), want)
	}
}

func TestSummary(t *testing.T) {
	other := point("a", 1, 30000, 10)
	other.Work = "load"
	var b strings.Builder
	if err := Summary(&b, []Point{point("small", 1, 30, 20), point("large", 1, 60, 10), point("large", 8, 90, 100), other}); err != nil {
		t.Fatal(err)
	}
	want := `| ratio: geometric mean (lowest–highest) | b1 1T | b8 1T | weft ahead |
|---|---|---|---|
| infer against other, s, 32 px | 3.00 (1.50–6.00) | 0.90 | 2 of 3 |
| load against other, s, 32 px | 3000 |  | 1 of 1 |
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}
