package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/train"
	"weft/train/runs"
)

// newRunsCmd returns the runs command.
func newRunsCmd() *cobra.Command {
	dir := "runs"
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List, compare, show and resume trainings",
		Long: `Look at what weft train has written. A RUN is its folder, or its name below --dir. The index of the runs, .weft-runs.json
in --dir, only saves time: it is made again when it is missing or out of date.`,
		Args: takes("list, show, compare, resume, report or tensorboard"),
		RunE: func(_ *cobra.Command, args []string) error {
			return usagef("there is no weft runs %s: choose list, show, compare, resume, report or tensorboard", args[0])
		},
	}
	cmd.PersistentFlags().StringVar(&dir, "dir", dir, "folder of the runs")
	must(cmd.MarkPersistentFlagDirname("dir"))
	find := func(name string) (*runs.Run, error) { return findRun(dir, name) }
	cmd.AddCommand(newRunsListCmd(&dir), newRunsShowCmd(find), newRunsCompareCmd(find), newRunsResumeCmd(find),
		newRunsReportCmd(find), newRunsTensorboardCmd(find))
	return cmd
}

// findRun opens the run in the folder of that name, or of that name below dir.
func findRun(dir, name string) (*runs.Run, error) {
	path := name
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		path = filepath.Join(dir, name)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no run %s, here or in %s; 'weft runs list' names those that there are", name, dir)
	}
	r, err := runs.Open(path)
	if err == nil {
		r.Name = name
	}
	return r, err
}

// runRow is a run in the table.
type runRow struct {
	Name   string     `col:"run"`
	State  runs.State `col:"state"`
	Recipe string     `col:"recipe"`
	Space  string     `col:"space"`
	Data   string     `col:"data"`
	Epochs string     `col:"epochs"`
	Max    string     `col:"max %"`
	Min    string     `col:"min %"`
	Dip    string     `col:"dip"`
	Flops  string     `col:"flops"`
	Took   string     `col:"took"`
	Ago    string     `col:"ago"`
}

func newRunsListCmd(dir *string) *cobra.Command {
	var (
		asJSON          bool
		sort            string
		recipe, setName string
	)
	orders := map[string]func(a, b runs.Summary) int{
		"name": func(a, b runs.Summary) int { return strings.Compare(a.Name, b.Name) },
		"time": func(a, b runs.Summary) int { return b.Changed.Compare(a.Changed) },
		"max":  func(a, b runs.Summary) int { return cmp.Compare(b.Max, a.Max) },
		"min":  func(a, b runs.Summary) int { return cmp.Compare(b.Min, a.Min) },
		"cost": func(a, b runs.Summary) int { return cmp.Compare(b.Flops, a.Flops) },
	}
	cmd := &cobra.Command{
		Use: "list", Short: "List the runs below a folder", Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			order, ok := orders[sort]
			if !ok {
				return usagef("--sort %s: choose name, time, max, min or cost", sort)
			}
			list, err := runs.Scan(*dir)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("there is no folder %s; name the folder of the runs with --dir", *dir)
			}
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(s runs.Summary) bool {
				return recipe != "" && s.Recipe != recipe || setName != "" && s.Data != setName
			})
			slices.SortStableFunc(list, order)
			if asJSON {
				return printTable(cmd.OutOrStdout(), true, list)
			}
			return printRuns(cmd.OutOrStdout(), list, time.Now())
		},
	}
	f := cmd.Flags()
	f.StringVar(&sort, "sort", "name", "order: name, time, max, min or cost, the newest, best or dearest first")
	f.StringVar(&recipe, "recipe", "", "only runs of this recipe")
	f.StringVar(&setName, "data", "", "only runs on this data set")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printRuns(w io.Writer, list []runs.Summary, now time.Time) error {
	var rows []runRow
	for _, s := range list {
		row := runRow{
			Name: s.Name, State: s.State, Recipe: s.Recipe, Space: s.Space, Data: s.Data,
			Epochs: fmt.Sprintf("%.4g/%d", s.Epoch, s.Epochs), Max: orDash(100*s.Max, "%.2f"), Min: orDash(100*s.Min, "%.2f"),
			Flops: orDash(s.Flops, "%.2g"), Took: short(time.Duration(s.Seconds * float64(time.Second))), Ago: short(now.Sub(s.Changed)),
		}
		row.Dip = "–"
		if s.Dip != nil {
			row.Dip = fmt.Sprintf("%.2f", 100**s.Dip)
		}
		rows = append(rows, row)
	}
	if err := printTable(w, false, rows); err != nil {
		return err
	}
	for _, s := range list {
		if s.Failure != "" {
			fmt.Fprintf(w, "%s: %s\n", s.Name, s.Failure)
		}
	}
	return nil
}

// orDash formats a number; 0 and NaN stand for one that is not known.
func orDash(v float64, verb string) string {
	if v == 0 || math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf(verb, v)
}

func newRunsShowCmd(find func(string) (*runs.Run, error)) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show RUN", Short: "Show one run: where it stands, its settings and its curves", Args: takes("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := find(args[0])
			if err != nil {
				return err
			}
			s := summary(r)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), struct {
					runs.Summary
					Config  train.Config    `json:"config"`
					Record  runs.Record     `json:"record"`
					Metrics []train.Metrics `json:"metrics"`
				}{s, r.Config, r.Record, r.Metrics})
			}
			return showRun(cmd.OutOrStdout(), r, s)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// summary says how the run went, and whether it goes on.
func summary(r *runs.Run) runs.Summary {
	s := r.Summary()
	if train.Training(r.Dir) {
		s.State = runs.Running
	}
	return s
}

func showRun(w io.Writer, r *runs.Run, s runs.Summary) error {
	fmt.Fprintf(w, "%s: %s, %.4g of %d epochs, %.3g flops in %s\n", r.Name, s.State, s.Epoch, s.Epochs, s.Flops,
		short(time.Duration(s.Seconds*float64(time.Second))))
	if s.Failure != "" {
		fmt.Fprintf(w, "%s\n", s.Failure)
	}
	if rec := r.Record; !rec.Started.IsZero() {
		fmt.Fprintf(w, "begun %s, resumed %s, weft %s (%s), %s, %s kernels, %s\n", rec.Started.Format(time.RFC3339),
			count(rec.Resumed, "time"), rec.Version, rec.Commit, rec.CPU, rec.Kernel, count(rec.Threads, "thread"))
	}
	settings, err := runs.Differences([]*runs.Run{r, {}})
	if err != nil {
		return err
	}
	var parts []string
	for _, d := range settings {
		parts = append(parts, d.Field+" "+strings.Trim(d.Values[0], `"`))
	}
	fmt.Fprintf(w, "settings: %s\n\n", strings.Join(parts, ", "))
	var lines [][]string
	losses := make([]float64, 0, len(r.Metrics))
	for _, m := range r.Metrics {
		if m.Loss != 0 {
			losses = append(losses, m.Loss)
		}
	}
	if n := len(losses); n > 0 {
		lines = append(lines, []string{"loss", trend(losses), fmt.Sprintf("%.3f to %.3f", losses[0], losses[n-1])})
	}
	for _, net := range r.Nets() {
		var values []float64
		for _, p := range r.Accuracy(net) {
			values = append(values, 100*p.Accuracy)
		}
		lines = append(lines, []string{net, trend(values), fmt.Sprintf("%.2f %%, best %.2f %%", values[len(values)-1], slices.Max(values))})
	}
	if err := printLines(w, lines, func(int) bool { return false }); err != nil {
		return err
	}
	if s.Dip != nil {
		fmt.Fprintf(w, "dip of the largest subnet at the switch: %.2f points\n", 100**s.Dip)
	}
	return nil
}

// trend draws values over time from the least to the greatest, each character the mean of its share of them.
func trend(values []float64) string {
	width := min(48, len(values))
	means := make([]float64, width)
	for i := range means {
		part := values[i*len(values)/width : (i+1)*len(values)/width]
		for _, v := range part {
			means[i] += v / float64(len(part))
		}
	}
	return curve(means, slices.Min(means), slices.Max(means))
}

// newRunsResumeCmd returns weft train --resume under the name of the run.
func newRunsResumeCmd(find func(string) (*runs.Run, error)) *cobra.Command {
	cmd := newTrainCmd()
	start := cmd.RunE
	cmd.Use, cmd.Short, cmd.Args = "resume RUN", "Go on with a run that was stopped", takes("RUN")
	cmd.Long = "Go on with a run that was stopped, with its own settings, as weft train --out RUN --resume does."
	cmd.Example = "  weft runs resume fashion --threads 1"
	for _, name := range append([]string{"out", "resume"}, runFlags()...) {
		must(cmd.Flags().MarkHidden(name))
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := find(args[0])
		if err != nil {
			return err
		}
		for name, value := range map[string]string{"out": r.Dir, "resume": strconv.FormatBool(true)} {
			if err := cmd.Flags().Set(name, value); err != nil {
				return err
			}
		}
		return start(cmd, nil)
	}
	return cmd
}

func newRunsTensorboardCmd(find func(string) (*runs.Run, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "tensorboard RUN...",
		Short: "Write runs for TensorBoard",
		Long: `Write the events of runs for TensorBoard into their folders, which weft train does by itself. Look at them with
tensorboard --logdir DIR.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				r, err := find(name)
				if err != nil {
					return err
				}
				if train.Training(r.Dir) {
					return fmt.Errorf("%s is being trained, which writes its events; wait for the end", r.Name)
				}
				e, err := runs.OpenEvents(r.Dir)
				if err != nil {
					return err
				}
				if err := e.Close(); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d lines of metrics\n", r.Name, len(r.Metrics))
			}
			return nil
		},
	}
}
