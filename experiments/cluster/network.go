package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Network is a network namespace beside this machine's own, and the cable between them.
type Network struct {
	Here, There string // addresses of the two ends
	name        string
}

// NewNetwork makes a network. It needs root and the program ip.
func NewNetwork(ctx context.Context) (*Network, error) {
	id := os.Getpid() % 65536
	n := &Network{name: fmt.Sprintf("weft%d", id)}
	n.Here, n.There = fmt.Sprintf("10.%d.%d.1", 128+id/512, id/2%256), fmt.Sprintf("10.%d.%d.2", 128+id/512, id/2%256)
	for _, line := range []string{
		"netns add NET",
		"link add NETa type veth peer name NETb netns NET",
		"addr add HERE/30 dev NETa",
		"link set NETa up",
		"-n NET addr add THERE/30 dev NETb",
		"-n NET link set NETb up",
		"-n NET link set lo up",
	} {
		if err := n.ip(ctx, line); err != nil {
			n.Close()
			return nil, err
		}
	}
	return n, nil
}

func (n *Network) ip(ctx context.Context, line string) error {
	line = strings.NewReplacer("NET", n.name, "THERE", n.There, "HERE", n.Here).Replace(line)
	out, err := exec.CommandContext(ctx, "ip", strings.Fields(line)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, out)
	}
	return nil
}

// Prefix is what a command that is to run at the other end begins with.
func (n *Network) Prefix() []string { return []string{"ip", "netns", "exec", n.name} }

// Cut pulls the cable: packets are lost without a word.
func (n *Network) Cut(ctx context.Context) error {
	return n.ip(ctx, "-n NET link set NETb down")
}

// Mend plugs it in again.
func (n *Network) Mend(ctx context.Context) error {
	return n.ip(ctx, "-n NET link set NETb up")
}

// Close removes the network.
func (n *Network) Close() {
	ctx := context.Background()
	_ = n.ip(ctx, "link del NETa") // it may be half made
	_ = n.ip(ctx, "netns del NET")
}
