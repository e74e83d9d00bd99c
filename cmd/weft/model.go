package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"weft/bundle"
	"weft/bundle/builtin"
	"weft/kernel"
	"weft/safetensors"
	"weft/search"
	"weft/serve"
	"weft/supernet"
)

// builtinModel is the name of the model that comes with weft.
const builtinModel = "fashion"

// maxBatch is the largest batch that is profiled and served, in images (SuperServe).
const maxBatch = 16

// model is a bundle with where its latencies are kept.
type model struct {
	*bundle.Bundle
	raw     []byte // the file
	digest  string
	sidecar string
}

// openModel reads the bundle at path, or the one built in for "" and for its name, unless a file is called so.
func openModel(path string) (*model, error) {
	if path == "" || path == builtinModel && !fileExists(path) {
		return openBuiltin()
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no bundle at %s; write one with weft search, or name none to use the one built in", path)
	}
	if err != nil {
		return nil, err
	}
	m, err := decodeModel(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.sidecar = bundle.SidecarPath(path)
	return m, nil
}

func openBuiltin() (*model, error) {
	m, err := decodeModel(builtin.Model())
	if err != nil {
		return nil, fmt.Errorf("the built-in model: %w", err)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find a cache folder for the latencies of the built-in model: %w", err)
	}
	m.sidecar = bundle.SidecarPath(filepath.Join(dir, "weft", builtinModel+".weft"))
	return m, nil
}

func decodeModel(raw []byte) (*model, error) {
	f, err := safetensors.Read(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	b, err := bundle.Decode(f)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return &model{Bundle: b, raw: raw, digest: hex.EncodeToString(sum[:])}, nil
}

// thisMachine identifies what latencies measured here hold for.
func thisMachine(threads int) bundle.Machine {
	return bundle.Machine{CPU: cpuName(), Kernel: kernel.Tier(), Threads: threads}
}

// conditions are those that latencies hold under on this machine.
type conditions struct {
	threads  int
	winograd int // MiB that transformed weights may take, usual for supernet.WinogradBytes
}

// usual stands for what weft chooses by itself.
const usual = -1

// flag adds --winograd-mb to a command that measures.
func (c *conditions) flag(cmd *cobra.Command) {
	cmd.Flags().IntVar(&c.winograd, "winograd-mb", usual, "MiB that weights transformed for Winograd's algorithm may take: more are faster, 0 is for none (default half of what the weights take, at least 16)")
	cmd.Flags().Lookup("winograd-mb").DefValue = "0" // which cobra does not print
}

// validate reports what cannot be.
func (c *conditions) validate() error {
	switch {
	case c.threads < 1:
		return usagef("--threads %d: choose at least 1", c.threads)
	case c.winograd < usual || c.winograd > 1<<20:
		return usagef("--winograd-mb %d: choose 0 or more, or leave it out", c.winograd)
	}
	return nil
}

// bytes returns how many transformed weights of a supernet may take.
func (c *conditions) bytes(net *supernet.Supernet) int {
	if c.winograd == usual {
		return net.WinogradBytes()
	}
	return c.winograd << 20
}

// kept returns the profile that was measured under these conditions, nil if there is none.
func (m *model) kept(c conditions) (*bundle.Profile, error) {
	p, err := bundle.ReadProfile(m.sidecar, m.digest, thisMachine(c.threads))
	if p == nil || err != nil {
		return nil, err
	}
	if p.Tuning == nil || p.Tuning.Bytes != c.bytes(m.Net) {
		return nil, nil
	}
	if err := m.Net.CheckTuning(p.Tuning); err != nil {
		return nil, fmt.Errorf("%s is damaged (%w); remove it, it will be measured again", m.sidecar, err)
	}
	return p, nil
}

// profile returns the model's latencies under the conditions, measured now unless they were before or again is set.
// When they cannot be kept, they are returned with the error.
func (m *model) profile(ctx context.Context, c conditions, again bool, bars *progress) (*bundle.Profile, error) {
	if !again {
		if p, err := m.kept(c); err != nil || p != nil {
			return p, err
		}
	}
	pool := kernel.NewPool(c.threads)
	defer pool.Close()
	tuning, err := m.Net.Tune(pool, c.bytes(m.Net), time.Now)
	if err != nil {
		return nil, err
	}
	plans, err := serve.Plans(m.Bundle, &tuning)
	if err != nil {
		return nil, err
	}
	bar := bars.Start("profile", "rounds", 0, int64(search.Rounds()))
	lat, err := search.Latencies(ctx, supernet.NewWorker(pool), plans, maxBatch, time.Now, func() { bar.Add(1) })
	bar.End()
	if err != nil {
		return nil, err
	}
	p := &bundle.Profile{Digest: m.digest, Machine: thisMachine(c.threads), Tuning: &tuning}
	for i, s := range m.Points() {
		t := bundle.SubnetTiming{Arch: s.Name()}
		for _, d := range lat[i] {
			t.LatencyUS = append(t.LatencyUS, float64(d)/float64(time.Microsecond))
		}
		p.Subnets = append(p.Subnets, t)
	}
	if err := os.MkdirAll(filepath.Dir(m.sidecar), 0o755); err != nil {
		return p, err
	}
	return p, bundle.WriteProfile(m.sidecar, p)
}
