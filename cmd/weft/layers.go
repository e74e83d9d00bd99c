package main

import (
	"fmt"
	"strings"
	"time"

	"weft/kernel"
	"weft/kernel/peak"
	"weft/serve"
	"weft/supernet"
)

// layerRounds is how often layers are timed; the shortest time counts.
const layerRounds = 9

// layerRow is a line of the table of layers. Times and rates are of a batch.
type layerRow struct {
	Layer  string  `json:"layer" col:"layer"`
	Kind   string  `json:"kind" col:"kind"`
	Kernel string  `json:"kernel" col:"kernel"`
	In     string  `json:"in" col:"in"`
	Out    string  `json:"out" col:"out"`
	K      int     `json:"k" col:"k"`
	Stride int     `json:"stride" col:"stride"`
	MMACs  float64 `json:"mmacs" col:"M MACs,%.3f"` // of one image
	US     float64 `json:"us" col:"µs,%.1f"`
	Share  float64 `json:"share" col:"% of time,%.1f"`
	GFs    float64 `json:"gf_s" col:"GF/s,%.1f"`
	Limit  float64 `json:"limit" col:"% of limit,%.0f"` // of what the processor could do in fp32, directly
}

// layers measures the layers of a subnet of the bundle, computed as they are when it is served.
func (m *model) layers(subnet string, batch int, c conditions, now func() time.Time) ([]layerRow, error) {
	pool := kernel.NewPool(c.threads)
	defer pool.Close()
	plan, err := m.plan(subnet, pool, c, now)
	if err != nil {
		return nil, err
	}
	images := make([]float32, batch*plan.Input.Size())
	for i := range images {
		images[i] = float32(i%251) / 250
	}
	roof := peak.Measure(now)
	all := supernet.NewWorker(pool).Layers(plan, images, batch, layerRounds, now)
	total := time.Duration(0)
	for i := range all {
		total += all[i].Time
	}
	rows := make([]layerRow, 0, len(all))
	for i := range all {
		l := &all[i]
		s := max(l.Time, 1).Seconds()
		rows = append(rows, layerRow{
			Layer: l.Name, Kind: l.Kind, Kernel: l.Kernel, In: l.In.String(), Out: l.Out.String(), K: l.K, Stride: l.Stride,
			MMACs: float64(l.MACs) / 1e6, US: 1e6 * s, Share: 100 * float64(l.Time) / float64(max(total, 1)),
			GFs:   l.Flops(batch) / s / 1e9,
			Limit: 100 * roof.Seconds(l.Flops(batch), l.Bytes(batch)) / float64(c.threads) / s,
		})
	}
	return rows, nil
}

// plan compiles a subnet of the bundle, with the tuning that was kept or one that is measured now.
func (m *model) plan(subnet string, pool *kernel.Pool, c conditions, now func() time.Time) (*supernet.Plan, error) {
	points, name := m.Points(), subnet
	switch space := m.Net.Space; subnet {
	case "max":
		name = space.Format(space.Max())
	case "min":
		name = space.Format(space.Min())
	}
	names := make([]string, len(points))
	at := -1
	for i, p := range points {
		if names[i] = p.Name(); names[i] == name {
			at = i
		}
	}
	if at < 0 {
		return nil, usagef("--layers %s: choose max, min, or one of %s", subnet, strings.Join(names, ", "))
	}
	p, err := m.kept(c)
	if err != nil {
		return nil, err
	}
	var tuning supernet.Tuning
	if p != nil {
		tuning = *p.Tuning
	} else if tuning, err = m.Net.Tune(pool, c.bytes(m.Net), now); err != nil {
		return nil, err
	}
	plans, err := serve.Plans(m.Bundle, &tuning)
	if err != nil {
		return nil, fmt.Errorf("compile the subnets: %w", err)
	}
	return plans[at], nil
}
