package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"weft/atomicfile"
	"weft/supernet"
)

// ProfileVersion is the version of the sidecar's format.
const ProfileVersion = 1

// Machine identifies what latencies were measured on.
type Machine struct {
	CPU     string `json:"cpu"`
	Kernel  string `json:"kernel"`  // tier of the kernels
	Threads int    `json:"threads"` // of a worker
}

// Profile holds the latencies of a bundle's subnets on one kind of worker.
type Profile struct {
	Digest  string  `json:"digest"` // SHA-256 of the bundle's file
	Machine Machine `json:"machine"`
	// Tuning is how layers are computed, on which the latencies and the last bits of the
	// answers depend; nil for supernet.Rule with the usual budget.
	Tuning  *supernet.Tuning `json:"tuning,omitempty"`
	Subnets []SubnetTiming   `json:"subnets"`
}

// SubnetTiming is the latency of one subnet.
type SubnetTiming struct {
	Arch      string    `json:"arch"`
	LatencyUS []float64 `json:"latency_us"` // entry b-1: median for a batch of b images
}

// sidecar is the file: one profile for each machine that measured.
type sidecar struct {
	Format   int       `json:"format"`
	Profiles []Profile `json:"profiles"`
}

// SidecarPath returns where the profiles of the bundle at path are kept.
func SidecarPath(path string) string { return path + ".profile.json" }

// ReadProfile returns the profile in the sidecar at path for a bundle with this digest on
// this machine, or nil if it has none. A sidecar that does not exist has none.
func ReadProfile(path, digest string, m Machine) (*Profile, error) {
	s, err := readSidecar(path)
	if err != nil {
		return nil, err
	}
	for i := range s.Profiles {
		if p := &s.Profiles[i]; p.Digest == digest && p.Machine == m {
			return p, nil
		}
	}
	return nil, nil
}

// AnyProfile returns the first profile in the sidecar at path for a bundle with this digest,
// on whichever machine it was measured, or nil if it has none.
func AnyProfile(path, digest string) (*Profile, error) {
	s, err := readSidecar(path)
	if err != nil {
		return nil, err
	}
	for i := range s.Profiles {
		if p := &s.Profiles[i]; p.Digest == digest {
			return p, nil
		}
	}
	return nil, nil
}

func readSidecar(path string) (*sidecar, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return &sidecar{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the latencies: %w", err)
	}
	s, err := parseSidecar(b)
	if err != nil {
		return nil, fmt.Errorf("%s %w; remove it, it will be measured again", path, err)
	}
	return s, nil
}

func parseSidecar(b []byte) (*sidecar, error) {
	s := &sidecar{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("is damaged (%w)", err)
	}
	if s.Format != ProfileVersion {
		return nil, fmt.Errorf("has format %d and this weft reads %d", s.Format, ProfileVersion)
	}
	for i := range s.Profiles {
		if err := s.Profiles[i].check(); err != nil {
			return nil, fmt.Errorf("is damaged (%w)", err)
		}
	}
	return s, nil
}

// maxLatencyUS is longer than any latency that was really measured: eleven days.
const maxLatencyUS = 1e12

// check reports the first subnet without sensible latencies.
func (p *Profile) check() error {
	if len(p.Subnets) == 0 {
		return errors.New("a profile without subnets")
	}
	if p.Tuning != nil {
		if err := p.Tuning.Check(); err != nil {
			return err
		}
	}
	for _, t := range p.Subnets {
		if len(t.LatencyUS) == 0 {
			return fmt.Errorf("no latencies for subnet %s", t.Arch)
		}
		for b, v := range t.LatencyUS {
			if !(v > 0 && v < maxLatencyUS) {
				return fmt.Errorf("subnet %s takes %v µs for a batch of %d", t.Arch, v, b+1)
			}
		}
	}
	return nil
}

// WriteProfile puts the profile into the sidecar at path, in place of an older one of the
// same machine. Profiles of other digests are dropped: the bundle beside them is gone.
// A damaged sidecar is replaced.
func WriteProfile(path string, p *Profile) error {
	if err := p.check(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	s, err := readSidecar(path)
	if err != nil {
		s = &sidecar{}
	}
	s.Format = ProfileVersion
	s.Profiles = slices.DeleteFunc(s.Profiles, func(o Profile) bool { return o.Digest != p.Digest || o.Machine == p.Machine })
	s.Profiles = append(s.Profiles, *p)
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}
