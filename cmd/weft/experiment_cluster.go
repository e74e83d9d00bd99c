package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/atomicfile"
	"weft/experiments/cluster"
	"weft/experiments/report"
)

func newClusterCmd() *cobra.Command {
	var (
		names           []string
		brief           float64
		out             string
		verbose, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "What becomes of requests when workers, network, bus or router fail",
		Long: `Start routers, workers and buses as processes of this program, put load on them, and kill, freeze and cut off some (about
three minutes). The executors sleep in place of computing, as one machine cannot stand for eight. Each scenario counts
what was sent, answered, refused, lost and answered twice, and ends with verdicts.`,
		Example: "  weft experiment cluster\n  weft experiment cluster --scenario frozen,cut --verbose",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range names {
				if !slices.Contains(cluster.Scenarios(), name) {
					return usagef("--scenario %s: choose from %s", name, strings.Join(cluster.Scenarios(), ", "))
				}
			}
			if brief < 1 {
				return usagef("--brief %v: choose 1 or more", brief)
			}
			program, err := os.Executable()
			if err != nil {
				return err
			}
			errw := cmd.ErrOrStderr()
			o := cluster.Options{Program: program, Scenarios: names, Brief: brief, Progress: func(name string) {
				fmt.Fprintf(errw, "%s %s\n", time.Now().Format(time.TimeOnly), name)
			}}
			if verbose {
				o.Log = errw
			}
			results, err := cluster.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if out != "" {
				if err := atomicfile.Write(out, func(w io.Writer) error { return printJSON(w, results) }); err != nil {
					return err
				}
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), results)
			}
			return showCluster(cmd.OutOrStdout(), results)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&names, "scenario", nil, fmt.Sprintf("scenarios to run (default: all of %s)", strings.Join(cluster.Scenarios(), ", ")))
	f.Float64Var(&brief, "brief", 1, "by how much to shorten all times")
	f.StringVar(&out, "out", "", "file to keep the results in, as JSON")
	f.BoolVar(&verbose, "verbose", false, "show what the processes say")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// clusterRow is a stretch of a scenario as a table shows it.
type clusterRow struct {
	Scenario   string  `col:"scenario"`
	Part       string  `col:"part"`
	Sent       int     `col:"sent"`
	Answered   int     `col:"answered"`
	Late       int     `col:"of them late"`
	Refused    int     `col:"refused"`
	Lost       int     `col:"lost"`
	Twice      int     `col:"twice"`
	Retried    int     `col:"retried"`
	Attainment float64 `col:"attainment,%.4f"`
	Accuracy   float64 `col:"accuracy,%.4f"`
}

// timingRow is a time of a scenario.
type timingRow struct {
	Scenario string  `col:"scenario"`
	What     string  `col:"what"`
	MS       float64 `col:"ms,%.0f"`
}

// showCluster prints accounts, times and verdicts.
func showCluster(w io.Writer, results []*cluster.Result) error {
	var rows []clusterRow
	var times []timingRow
	var claims []report.Claim
	for _, r := range results {
		fmt.Fprintf(w, "%s: %s\n", r.Scenario, r.Note)
		if r.Skipped != "" {
			fmt.Fprintf(w, "%s was not run: %s\n", r.Scenario, r.Skipped)
		}
		for _, p := range r.Parts {
			rows = append(rows, clusterRow{
				r.Scenario, p.Name, p.Sent, p.Answered, p.Late, p.Refused, p.Lost, p.Twice, p.Retried, p.Attainment, p.Accuracy,
			})
		}
		for _, t := range r.Times {
			times = append(times, timingRow{r.Scenario, t.What, t.MS})
		}
		claims = append(claims, r.Claims...)
	}
	fmt.Fprintln(w)
	if err := printTable(w, false, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := printTable(w, false, times); err != nil {
		return err
	}
	verdicts := make([][]string, 0, len(claims)+1)
	verdicts = append(verdicts, []string{"scenario", "claim", "criterion", "value", "verdict"})
	for _, c := range claims {
		for _, v := range c.Verdicts {
			word := "does not hold"
			if v.Holds {
				word = "holds"
			}
			verdicts = append(verdicts, []string{v.Policy, c.Text, c.Criterion, v.Value, word})
		}
	}
	fmt.Fprintln(w)
	return printLines(w, verdicts, func(int) bool { return false })
}
