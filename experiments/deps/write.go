package deps

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"weft/atomicfile"
	"weft/experiments/report"
)

// Write writes the reports into dir: results.md with a picture a bench, and report.html with all of them.
func Write(dir, command string, reports []*Report) error {
	d := report.Data{
		Title:    "DepS beside OFA, CompOFA, BigNAS and naive training",
		Summary:  summary(reports),
		Commands: []string{command},
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# DepS beside OFA, CompOFA, BigNAS and naive training\n\n    %s\n\n%s\n\n%s\n\n", command, preamble, summary(reports))
	for _, r := range reports {
		if err := report.WriteSVG(filepath.Join(dir, r.Bench+".svg"), r.plots(), 2); err != nil {
			return err
		}
		b.WriteString(r.markdown())
		d.Machine = r.Groups[0].results[0].Machine.CPU
		d.Sections = append(d.Sections, report.Section{
			Title: r.Title, Tables: []report.Table{report.Verdicts(r.Claims), r.Table()}, Plots: r.plots(),
		})
	}
	err := atomicfile.Write(filepath.Join(dir, "results.md"), func(w io.Writer) error {
		_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
		return err
	})
	if err != nil {
		return err
	}
	return report.Write(filepath.Join(dir, "report.html"), d)
}

// summary counts the claims that hold.
func summary(reports []*Report) string {
	var parts []string
	for _, r := range reports {
		holds, near := 0, 0
		for _, c := range r.Claims {
			switch v := c.Verdicts[0]; {
			case v.Close:
				near++
			case v.Holds:
				holds++
			}
		}
		seeds := 0
		for i := range r.Groups {
			seeds = max(seeds, len(r.Groups[i].results))
		}
		parts = append(parts, fmt.Sprintf("%s (seeds: %d): of %d claims %d hold, %d are too close to tell.", r.Title, seeds, len(r.Claims), holds, near))
	}
	return strings.Join(parts, " ")
}

const preamble = "All methods share batch, peak rate, weight decay, label smoothing and augmentation; they differ in what each step trains, and\n" +
	"in what their papers say of the rate: OFA and CompOFA begin a new cosine with each phase, BigNAS falls exponentially and starts the\n" +
	"last normalisation of each residual block at 0. Two things weigh at schedules this short: OFA's late phases, the last of which\n" +
	"alone trains its smallest subnet, have the published ratios to the peak rate, 0.37 to 0.03; and OFA orders the channels of stages where\n" +
	"widths are opened, which DepS does not. A schedule is\n" +
	"`full` (DepS'), `half` of it, `longer` by half, `published` (as many times DepS' epochs as in the paper: OFA 605/270,\n" +
	"CompOFA 330/270, BigNAS 400/270) or of `equal cost` in multiply-accumulates, forwards and backwards. CompOFA trains subnets whose\n" +
	"depth, expansion and width go together: of the six uniform ones the smallest and the largest, none of those between, which count\n" +
	"in its mean of six all the same. The paper's BigNAS is plainer than this one, which has what its authors published: it is what\n" +
	"`DepS, no warm-up` is here. `each alone` are six trainings, whose cost is that of all.\n\n" +
	"The dip is the largest subnet's validation accuracy before the others join, less its lowest until an epoch after the ramp, each\n" +
	"the mean of the evaluations in a quarter of an epoch, of eight at most. An accuracy that only varies has one too, by chance: the\n" +
	"lowest of several means. Choices were made on validation images; test images judge once, at the end.\n\n" +
	"Behind ± of a claim stand two standard errors of the difference, by the deviations over seeds. Of so few seeds these may be small\n" +
	"by chance: none counts for less than the median of all methods'. A bench of one seed takes the median of Fashion-MNIST's, which may\n" +
	"be too little. What lies nearer to its criterion than that is too close to tell.\n\n" +
	"Core minutes are the wall clock's times the number of threads, with whatever else the machine did."
