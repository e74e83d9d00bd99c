package optimum

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"weft/sched"
)

// Recorded is an instance whose optimum is known.
type Recorded struct {
	// Name is a family of instances and a number: "bursty/3".
	Name string
	Instance
	Optimum float64
}

// The file has times in microseconds, and a request's parameters by the names
// that the server gives them.
type (
	fileInstance struct {
		Name     string        `json:"name"`
		Workers  int           `json:"workers"`
		Optimum  float64       `json:"optimum"`
		Subnets  []fileSubnet  `json:"subnets"`
		Requests []fileRequest `json:"requests"`
	}
	fileSubnet struct {
		Name     string  `json:"name"`
		Accuracy float64 `json:"accuracy"`
		Latency  []int64 `json:"latency"` // of 1, 2, ... images
	}
	fileRequest struct {
		Arrival     int64   `json:"at"`
		Deadline    int64   `json:"due"`
		Size        int     `json:"size,omitempty"` // 0: 1
		MinAccuracy float64 `json:"min_accuracy,omitempty"`
		Subnet      string  `json:"subnet,omitempty"`
	}
)

// ReadRecorded reads instances that WriteRecorded wrote. Requests have the
// numbers of their places as IDs.
func ReadRecorded(r io.Reader) ([]Recorded, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	var file []fileInstance
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("recorded instances: %w", err)
	}
	list := make([]Recorded, len(file))
	for i := range file {
		if err := file[i].decode(&list[i]); err != nil {
			return nil, fmt.Errorf("recorded instance %s: %w", file[i].Name, err)
		}
	}
	return list, nil
}

func (f *fileInstance) decode(rec *Recorded) error {
	subnets := make([]sched.Subnet, len(f.Subnets))
	for i, s := range f.Subnets {
		subnets[i] = sched.Subnet{Name: s.Name, Accuracy: s.Accuracy}
		for _, l := range s.Latency {
			subnets[i].Latency = append(subnets[i].Latency, time.Duration(l)*time.Microsecond)
		}
	}
	p, err := sched.NewProfile(subnets, 0)
	if err != nil {
		return err
	}
	*rec = Recorded{Name: f.Name, Optimum: f.Optimum, Instance: Instance{Profile: p, Workers: f.Workers}}
	for i, r := range f.Requests {
		subnet := sched.AnySubnet
		if r.Subnet != "" {
			if subnet = p.Index(r.Subnet); subnet < 0 {
				return fmt.Errorf("request %d is pinned to %s: name a subnet of the profile", i, r.Subnet)
			}
		}
		rec.Requests = append(rec.Requests, sched.Request{
			ID:          uint64(i),
			Arrival:     time.Duration(r.Arrival) * time.Microsecond,
			Deadline:    time.Duration(r.Deadline) * time.Microsecond,
			Size:        max(r.Size, 1),
			MinAccuracy: r.MinAccuracy,
			Subnet:      subnet,
		})
	}
	if !slices.IsSortedFunc(rec.Requests, func(a, b sched.Request) int { return int(a.Arrival - b.Arrival) }) {
		return fmt.Errorf("requests are not in order of arrival: sort them")
	}
	return rec.validate()
}

// WriteRecorded writes the instances, one a line. Times must be multiples of a microsecond.
func WriteRecorded(w io.Writer, list []Recorded) error {
	for i := range list {
		line, err := json.Marshal(encode(&list[i]))
		if err != nil {
			return fmt.Errorf("recorded instance %s: %w", list[i].Name, err)
		}
		open, end := ",\n", ""
		if i == 0 {
			open = "[\n"
		}
		if i == len(list)-1 {
			end = "\n]\n"
		}
		if _, err := fmt.Fprintf(w, "%s%s%s", open, line, end); err != nil {
			return err
		}
	}
	return nil
}

func encode(rec *Recorded) fileInstance {
	f := fileInstance{Name: rec.Name, Workers: rec.Workers, Optimum: rec.Optimum}
	for _, s := range rec.Profile.Subnets {
		fs := fileSubnet{Name: s.Name, Accuracy: s.Accuracy}
		for _, l := range s.Latency {
			fs.Latency = append(fs.Latency, l.Microseconds())
		}
		f.Subnets = append(f.Subnets, fs)
	}
	for _, r := range rec.Requests {
		fr := fileRequest{Arrival: r.Arrival.Microseconds(), Deadline: r.Deadline.Microseconds(), MinAccuracy: r.MinAccuracy}
		if r.Size != 1 {
			fr.Size = r.Size
		}
		if r.Subnet >= 0 {
			fr.Subnet = rec.Profile.Subnets[r.Subnet].Name
		}
		f.Requests = append(f.Requests, fr)
	}
	return f
}
