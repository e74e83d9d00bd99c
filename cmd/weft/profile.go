package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/bundle"
)

// newProfileCmd returns the profile command.
func newProfileCmd() *cobra.Command {
	var (
		c             conditions
		layers        string
		batch         int
		quiet, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "profile [model.weft]",
		Short: "Measure the latencies of a bundle's subnets on this machine",
		Long: fmt.Sprintf(`Measure every subnet of a bundle at every batch size from 1 to %d on a worker of this machine and keep the medians in
a file beside the bundle, %s. Run it while the machine is idle. 'weft serve' measures by itself when
there is nothing for this processor and number of threads yet. With --layers the time of each layer of one subnet is
shown instead, beside the least that its multiply-adds and the data that it moves take on this processor.`, maxBatch, bundle.SidecarPath("model.weft")),
		Example: "  weft profile fashion.weft --threads 2\n  weft profile --layers d2_e100_w100 --batch 8",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.validate(); err != nil {
				return err
			}
			if batch < 1 || batch > maxBatch {
				return usagef("--batch %d: choose 1 to %d", batch, maxBatch)
			}
			m, err := openModel(strings.Join(args, ""))
			if err != nil {
				return err
			}
			bars := newProgress(cmd.ErrOrStderr(), quiet, time.Now)
			defer bars.Close()
			if layers != "" {
				rows, err := m.layers(layers, batch, c, time.Now)
				if err != nil {
					return err
				}
				return printTable(cmd.OutOrStdout(), asJSON, rows)
			}
			p, err := m.profile(cmd.Context(), c, true, bars)
			if err != nil {
				return err
			}
			return printTable(cmd.OutOrStdout(), asJSON, profileRows(m, p))
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.threads, "threads", 1, "compute threads of a worker")
	c.flag(cmd)
	f.StringVar(&layers, "layers", "", "show the layers of this subnet: max, min or an architecture")
	f.IntVar(&batch, "batch", 1, "images a batch, for --layers")
	f.BoolVar(&quiet, "quiet", false, "show no progress")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// profileRow is a line of the table of latencies.
type profileRow struct {
	Arch      string    `json:"arch" col:"subnet"`
	Accuracy  accuracy  `json:"accuracy" col:"accuracy,%v"`
	MMACs     float64   `json:"mmacs" col:"M MACs,%.2f"`
	B1        float64   `json:"-" col:"b1 ms,%.3f"`
	B4        float64   `json:"-" col:"b4 ms,%.3f"`
	B16       float64   `json:"-" col:"b16 ms,%.3f"`
	PerSecond float64   `json:"images_per_s" col:"images/s,%.0f"` // at the largest batch
	LatencyUS []float64 `json:"latency_us"`
}

func profileRows(m *model, p *bundle.Profile) []profileRow {
	rows := make([]profileRow, 0, len(p.Subnets))
	points := m.Points()
	for i, t := range p.Subnets {
		if i >= len(points) || len(t.LatencyUS) < maxBatch {
			continue
		}
		s := points[i]
		rows = append(rows, profileRow{
			Arch: t.Arch, Accuracy: accuracy(s.Accuracy), MMACs: float64(s.MACs) / 1e6,
			B1: t.LatencyUS[0] / 1e3, B4: t.LatencyUS[3] / 1e3, B16: t.LatencyUS[maxBatch-1] / 1e3,
			PerSecond: maxBatch * 1e6 / t.LatencyUS[maxBatch-1], LatencyUS: t.LatencyUS,
		})
	}
	return rows
}
