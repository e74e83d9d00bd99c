package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/guard"
)

// newKeysCmd returns the keys command.
func newKeysCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys {add | list | remove} FILE",
		Short: "Make, list and remove the API keys of a server",
		Long: `Keep the file of keys that 'weft serve --keys FILE' reads. It holds the SHA-256 of each key and never the key, which is
shown once, when it is made. A server takes changes up within a second or two, without a restart.`,
		Example: `  weft keys add keys.json alice --rate 100 --concurrent 16
  weft keys add keys.json prometheus --admin
  weft keys list keys.json
  weft keys remove keys.json alice`,
	}
	cmd.AddCommand(newKeysAddCmd(), newKeysListCmd(), newKeysRemoveCmd())
	return cmd
}

func newKeysAddCmd() *cobra.Command {
	var k guard.Key
	cmd := &cobra.Command{
		Use:   "add FILE NAME",
		Short: "Make a key and print it, this once",
		Args:  takes("FILE", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := args[0]
			keys, err := guard.Read(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			k.Name = args[1]
			if k.Tenant == "" {
				k.Tenant = k.Name
			}
			var secret string
			secret, k.SHA256 = guard.NewKey()
			if err := guard.Write(path, append(keys, k)); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), secret); err != nil {
				return fmt.Errorf("the key could not be shown: remove it by 'weft keys remove %s %s', and make another one: %w", path, k.Name, err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "This is the key of %s. It is shown this once: %s has its hash only.\n", k.Name, path)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&k.Tenant, "tenant", "", "whose requests its requests count as when load is shed (default: NAME)")
	f.Float64Var(&k.Share, "share", 0, "the tenant's weight then (default 1); servers take it up when they start")
	f.Float64Var(&k.Rate, "rate", 0, "requests a second, on average (default: no bound)")
	f.IntVar(&k.Burst, "burst", 0, "requests at a time that --rate lets pass (default: those of a second)")
	f.IntVar(&k.Concurrent, "concurrent", 0, "requests under way at a time (default: no bound)")
	f.BoolVar(&k.Admin, "admin", false, "allow metrics, timelines and statistics, and loading and unloading models")
	f.StringSliceVar(&k.Models, "models", nil, "models that it may use (default: all)")
	return cmd
}

// keyRow is a key as the list shows it.
type keyRow struct {
	Name       string  `col:"name"`
	Tenant     string  `col:"tenant"`
	Share      float64 `col:"share"`
	Rate       float64 `col:"requests/s"`
	Burst      int     `col:"burst"`
	Concurrent int     `col:"concurrent"`
	Admin      bool    `col:"admin"`
	Models     string  `col:"models"`
	SHA256     string  `col:"sha256"`
}

func newKeysListCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list FILE",
		Short: "Show what the keys may do; 0 stands for no bound",
		Args:  takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := guard.Read(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), keys)
			}
			var rows []keyRow
			for _, k := range keys {
				models := "all"
				if len(k.Models) > 0 {
					models = strings.Join(k.Models, ",")
				}
				text, err := k.SHA256.MarshalText()
				if err != nil {
					return err
				}
				rows = append(rows, keyRow{k.Name, k.Tenant, k.Share, k.Rate, k.Burst, k.Concurrent, k.Admin, models, string(text[:8])})
			}
			return printTable(cmd.OutOrStdout(), false, rows)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newKeysRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "remove FILE NAME",
		Short: "Remove a key: whoever has it is let in no more",
		Args:  takes("FILE", "NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			path, name := args[0], args[1]
			keys, err := guard.Read(path)
			if err != nil {
				return err
			}
			left := slices.DeleteFunc(slices.Clone(keys), func(k guard.Key) bool { return k.Name == name })
			if len(left) == len(keys) {
				return fmt.Errorf("%s has no key %q: 'weft keys list %s' shows those that it has", path, name, path)
			}
			return guard.Write(path, left)
		},
	}
}
