package main

import (
	"runtime"
	"runtime/debug"

	"github.com/klauspost/cpuid/v2"
	"github.com/spf13/cobra"

	"weft/kernel"
)

// build says what this binary is and what it runs on.
type build struct {
	Version string `json:"version" col:"version"`
	Commit  string `json:"commit" col:"commit"`
	Go      string `json:"go" col:"go"`
	OS      string `json:"os" col:"os"`
	CPU     string `json:"cpu" col:"cpu"`
	Cores   int    `json:"cores" col:"cores"`
	Kernel  string `json:"kernel" col:"kernel"` // tier of the kernels chosen at start-up
}

// newVersionCmd returns the version command.
func newVersionCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of weft, the processor and the kernels in use",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printRecord(cmd.OutOrStdout(), asJSON, thisBuild())
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// thisBuild reads what the Go tool stamped into the binary.
func thisBuild() build {
	b := build{
		Version: "unknown", Commit: "unknown", Go: runtime.Version(),
		OS:  runtime.GOOS + "/" + runtime.GOARCH,
		CPU: cpuName(), Cores: runtime.NumCPU(), Kernel: kernel.Tier(),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	modified := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " with changes"
		}
	}
	b.Commit += modified
	return b
}

// cpuName returns the processor's brand name, as a line of a benchmark record.
func cpuName() string {
	if cpuid.CPU.BrandName == "" {
		return runtime.GOARCH
	}
	return cpuid.CPU.BrandName
}
