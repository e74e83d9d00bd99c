package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"weft/bundle"
	"weft/supernet"
)

// newInspectCmd returns the inspect command.
func newInspectCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "inspect [model.weft]",
		Short:   "Show what is in a bundle",
		Example: "  weft inspect fashion.weft --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := openModel(strings.Join(args, ""))
			if err != nil {
				return err
			}
			d, err := describeModel(m)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), d)
			}
			if err := printRecord(cmd.OutOrStdout(), false, d); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout())
			return printSubnets(cmd.OutOrStdout(), false, m.Bundle)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// modelInfo is what the inspect command prints.
type modelInfo struct {
	Name       string            `json:"name" col:"name"`
	Digest     string            `json:"digest" col:"digest"`
	Space      string            `json:"space" col:"space"`
	Family     supernet.Family   `json:"family" col:"family"`
	Input      string            `json:"input" col:"input"`
	Classes    int               `json:"classes" col:"classes"`
	SpaceSize  string            `json:"space_size" col:"subnets in the space"`
	Parameters int               `json:"parameters" col:"parameters"`
	WeightKB   int               `json:"weight_kb" col:"weights in memory (KB)"`
	TableKB    int               `json:"table_kb" col:"tables of all subnets (KB)"`
	Data       string            `json:"data" col:"trained on"`
	Flops      float64           `json:"flops" col:"training flops,%.3g"`
	Recipe     json.RawMessage   `json:"recipe,omitempty" col:"recipe,%s"`
	Provenance bundle.Provenance `json:"provenance"`
	Subnets    []bundle.Subnet   `json:"subnets"`
	Int8       []bundle.Subnet   `json:"int8,omitempty"`
}

func describeModel(m *model) (modelInfo, error) {
	s := m.Net.Space
	d := modelInfo{
		Name: m.Name, Digest: m.digest, Space: s.Name, Family: s.Family, Input: s.Input.String(), Classes: s.Classes,
		SpaceSize: s.Size().String(), Data: m.Provenance.Data, Flops: m.Provenance.Flops, Recipe: m.Provenance.Recipe,
		Provenance: m.Provenance, Subnets: m.Subnets, Int8: m.Int8,
	}
	g, err := s.Lower(s.Max())
	if err != nil {
		return d, err
	}
	d.Parameters = g.Params()
	table := supernet.NewTable(m.Net, m.Norms)
	for _, sub := range m.Subnets {
		a, err := s.Parse(sub.Arch)
		if err != nil {
			return d, err
		}
		if _, err := table.Plan(a); err != nil {
			return d, err
		}
	}
	weights, tables := table.Bytes()
	d.WeightKB, d.TableKB = weights/1024, tables/1024
	return d, nil
}
