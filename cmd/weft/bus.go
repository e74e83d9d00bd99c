package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weft/bus"
)

// busJob says how to run a bus by itself.
type busJob struct {
	busFlags
	listen, stateDir string
	cluster          bus.EmbedCluster
}

// newBusCmd returns the bus command.
func newBusCmd() *cobra.Command {
	var job busJob
	cmd := &cobra.Command{
		Use:   "bus --state-dir DIR",
		Short: "Run the bus of a cluster by itself",
		Long: `Run the NATS server that servers and workers meet on as a process of its own, so that it stays when a server is replaced.
Three of them that know each other keep everything three times, and go on when one is lost.`,
		Example: `  weft bus --listen 10.0.0.1:4222 --state-dir bus --bus-token token
  weft bus --listen 10.0.0.1:4222 --state-dir bus --bus-token token --cluster weft --name a --cluster-listen 10.0.0.1:6222 --routes nats://10.0.0.2:6222,nats://10.0.0.3:6222`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return job.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&job.listen, "listen", "127.0.0.1:4222", "address for servers and workers; port 0 takes a free one")
	f.StringVar(&job.stateDir, "state-dir", "", "folder to keep the registry and the bundles in")
	f.StringVar(&job.cluster.Name, "cluster", "", "name of the cluster of buses to join")
	f.StringVar(&job.cluster.Server, "name", "", "name of this bus in its cluster, the same at each start")
	f.StringVar(&job.cluster.Listen, "cluster-listen", "127.0.0.1:6222", "address for the other buses")
	f.StringSliceVar(&job.cluster.Routes, "routes", nil, "addresses of the other buses, nats://HOST:PORT[,...]")
	job.proofFlags(f)
	return cmd
}

func (j *busJob) validate() error {
	switch {
	case j.stateDir == "":
		return usagef("name a folder to keep the state in with --state-dir")
	case (j.cluster.Name == "") != (j.cluster.Server == ""):
		return usagef("--cluster and --name go together: give both or none")
	}
	return j.busFlags.validate()
}

// run is the bus until ctx ends.
func (j *busJob) run(ctx context.Context, out, errw io.Writer) error {
	if err := j.validate(); err != nil {
		return err
	}
	auth, err := j.auth()
	if err != nil {
		return err
	}
	e, err := bus.Embed(ctx, bus.EmbedOptions{
		Listen: j.listen, StateDir: j.stateDir, Auth: auth, TLS: j.tls, Cluster: j.cluster, Logger: newLogger(errw),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Bus on %s\n", e.URL())
	<-ctx.Done()
	return e.Close()
}
