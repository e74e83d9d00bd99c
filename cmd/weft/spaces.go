package main

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/spf13/cobra"

	"weft/supernet"
)

// newSpacesCmd returns the spaces command.
func newSpacesCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "spaces [NAME]",
		Short: "List the spaces of subnets, or describe one",
		Long: `List the spaces that 'weft train --space' knows, with their sizes for ten classes, or print the description of one.
A description in a file of your own, under another name, is a space too: 'weft train --space FILE'. Its classes and
channels are those of the data set, whatever it says, and so are the sides of images if it leaves them out.`,
		Example:           "  weft spaces\n  weft spaces resnet-28s > mine.json\n  weft train --space mine.json --out runs/mine",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.FixedCompletions(supernet.Names(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				s, err := supernet.Find(args[0], 10, usualChannels(args[0]))
				if err != nil {
					return usagef("%v", err)
				}
				return printJSON(cmd.OutOrStdout(), s)
			}
			var rows []spaceRow
			for _, name := range supernet.Names() {
				r, err := describeSpace(name)
				if err != nil {
					return err
				}
				rows = append(rows, r)
			}
			return printTable(cmd.OutOrStdout(), asJSON, rows)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// usualChannels is how many channels images have that the space is meant for.
func usualChannels(name string) int {
	if strings.Contains(name, "-28") {
		return 1
	}
	return 3
}

// spaceRow is a space for ten classes.
type spaceRow struct {
	Name     string          `json:"name" col:"space"`
	Family   supernet.Family `json:"family" col:"family"`
	Input    string          `json:"input" col:"images"`
	Subnets  string          `json:"subnets" col:"subnets,%9s"`
	Smallest float64         `json:"smallest_m_macs" col:"smallest (M MACs),%.2f"`
	Largest  float64         `json:"largest_m_macs" col:"largest (M MACs),%.2f"`
	Params   float64         `json:"m_parameters" col:"M parameters,%.2f"`
}

func describeSpace(name string) (spaceRow, error) {
	s, err := supernet.Find(name, 10, usualChannels(name))
	if err != nil {
		return spaceRow{}, err
	}
	small, err := s.Lower(s.Min())
	if err != nil {
		return spaceRow{}, err
	}
	large, err := s.Lower(s.Max())
	if err != nil {
		return spaceRow{}, err
	}
	count := s.Size().String()
	if len(count) > 7 {
		count = fmt.Sprintf("%.2g", new(big.Float).SetInt(s.Size()))
	}
	return spaceRow{
		Name: name, Family: s.Family, Input: s.Input.String(), Subnets: count,
		Smallest: float64(small.MACs()) / 1e6, Largest: float64(large.MACs()) / 1e6, Params: float64(large.Params()) / 1e6,
	}, nil
}
