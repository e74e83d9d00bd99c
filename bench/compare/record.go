package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"weft/atomicfile"
	"weft/bench/machine"
)

// Point is one comparison. Ratio is peer time over weft time: above 1 weft is faster.
type Point struct {
	Peer    string  `json:"peer"`
	Work    string  `json:"work"`
	Space   string  `json:"space"`
	Subnet  string  `json:"subnet"`
	Pixels  int     `json:"pixels"`
	Batch   int     `json:"batch"`
	Threads int     `json:"threads"`
	PeerUS  float64 `json:"peer_us"`
	WeftUS  float64 `json:"weft_us"`
	Ratio   float64 `json:"ratio"`
	Rounds  int     `json:"rounds"`
	Spread  float64 `json:"spread"`           // of the ratio over the rounds: interquartile range over median
	Others  float64 `json:"others,omitempty"` // cores that other processes used meanwhile, if more than Busy
	Variant string  `json:"variant,omitempty"`
}

// Busy is how many cores others may use before a point counts as disturbed.
const Busy = 0.05

// key is what makes two points the same measurement.
func (p *Point) key() string {
	return fmt.Sprint(p.Peer, "|", p.Work, "|", p.Space, "|", p.Subnet, "|", p.Pixels, "|", p.Batch, "|", p.Threads)
}

// Memory is what served networks hold: the growth of a fresh process from its start (for
// the peer, from when its library was loaded) to when each network has run once.
type Memory struct {
	Engine   string  `json:"engine"`
	Space    string  `json:"space"`
	Pixels   int     `json:"pixels"`
	Networks int     `json:"networks"`
	Bytes    int64   `json:"bytes"`
	Ratio    float64 `json:"ratio"` // bytes of the peer over these
}

// Meta says what the points were measured on.
type Meta struct {
	Machine  machine.Info      `json:"machine"`
	Date     string            `json:"date"` // RFC 3339
	Seconds  float64           `json:"seconds"`
	Load     [2]string         `json:"load"` // averages before and after
	Versions map[string]string `json:"versions"`
	Revision string            `json:"revision,omitempty"` // of weft
	Memory   []Memory          `json:"memory,omitempty"`
}

// Merge returns the old points with those measured again replaced and new ones added.
func Merge(old, measured []Point) []Point {
	at := map[string]int{}
	out := append([]Point(nil), old...)
	for i := range out {
		at[out[i].key()] = i
	}
	for _, p := range measured {
		if i, ok := at[p.key()]; ok {
			out[i] = p
			continue
		}
		at[p.key()] = len(out)
		out = append(out, p)
	}
	return out
}

// Write writes v as indented JSON.
func Write(path string, v any) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(v)
	})
}

// Read reads what Write wrote into v; a missing file leaves v as it is.
func Read(path string, v any) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
