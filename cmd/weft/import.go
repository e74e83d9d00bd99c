package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/bundle"
	"weft/onnx"
	"weft/pytorch"
)

// importFlags say what a file to import does not.
type importFlags struct {
	name      string
	mean, std []float32
	pixels    int
	subnets   []string
	measure   measureJob
}

// importers read a network from a file, by the file's ending. The notes tell what they left out.
var importers = map[string]func(path string, flags importFlags) (b *bundle.Bundle, notes []string, err error){
	".onnx": importONNX,
	".pth":  importPyTorch,
	".pt":   importPyTorch,
	".th":   importPyTorch,
}

// newImportCmd returns the import command.
func newImportCmd() *cobra.Command {
	var (
		flags importFlags
		out   string
	)
	endings := make([]string, 0, len(importers))
	for ext := range importers {
		endings = append(endings, ext)
	}
	slices.Sort(endings)
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Turn a network of another framework into a bundle",
		Long: `Turn a network of another framework into a bundle with one subnet, which the other commands take like any bundle, or
a supernet into a bundle of several. FILE ends in ` + strings.Join(endings, ", ") + `. Checkpoints of PyTorch are
those of ResNets for CIFAR and of the supernets that OFA published, MobileNetV3 and ResNet50D; they are recognised
without an ending too.

The bundle's images are pixel/255; what the network expects instead, (pixel/255 - mean)/std, is told by --mean and
--std, for each channel, unless the file says it or normalises by itself. The bundle does not know the network's
accuracy: weft eval measures it. With --data it is measured at once, on the test images, after the normalisation of a
supernet's subnets was recalibrated on training images; subnets that others beat are then left out.`,
		Example: `  weft import net.onnx -o net.weft --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  weft import resnet20.th -o resnet20.weft
  weft import ofa_mbv3_d234_e346_k357_w1.0 -o ofa.weft --data imagenet/ --size 224`,
		Args: takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := args[0]
			read := importerOf(path)
			switch {
			case out == "":
				return usagef("missing --output: name the bundle to write, such as model.weft")
			case read == nil:
				return usagef("%s: the file's ending must be %s", path, strings.Join(endings, ", "))
			}
			if flags.name == "" {
				flags.name = strings.TrimSuffix(filepath.Base(out), filepath.Ext(out))
			}
			b, notes, err := read(path, flags)
			if err != nil {
				return fmt.Errorf("import %s: %w", path, err)
			}
			for _, n := range notes {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", n)
			}
			b.Provenance.Weft = thisBuild().Version
			if flags.measure.data != "" {
				if err := flags.measure.run(cmd, b); err != nil {
					return err
				}
			}
			if err := b.Write(out, false); err != nil {
				return err
			}
			return printSubnets(cmd.OutOrStdout(), false, b)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "bundle to write")
	f.StringVar(&flags.name, "name", "", "name of the model when it is served (default: that of the output file)")
	f.Float32SliceVar(&flags.mean, "mean", nil, "mean of pixel/255 that the network subtracts, one for all channels or one for each")
	f.Float32SliceVar(&flags.std, "std", nil, "deviation of pixel/255 that it divides by, likewise")
	f.IntVar(&flags.pixels, "pixels", 0, "PyTorch: height and width of the images (default: 224 for OFA's supernets, 32 for CIFAR's ResNets)")
	f.StringArrayVar(&flags.subnets, "subnet", nil, "PyTorch: a subnet of the supernet to list beside the usual ones; may be repeated")
	flags.measure.add(cmd)
	must(cmd.MarkFlagFilename("output", "weft"))
	return cmd
}

// importerOf returns what reads a file, by its ending or, without a known one, by how it begins; nil if nothing does.
func importerOf(path string) func(string, importFlags) (*bundle.Bundle, []string, error) {
	if read := importers[strings.ToLower(filepath.Ext(path))]; read != nil {
		return read
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var start [2]byte
	if _, err := io.ReadFull(f, start[:]); err == nil && pytorch.Is(start[:]) {
		return importPyTorch
	}
	return nil
}

func importONNX(path string, flags importFlags) (*bundle.Bundle, []string, error) {
	if flags.pixels != 0 || len(flags.subnets) > 0 {
		return nil, nil, usagef("--pixels and --subnet are for checkpoints of PyTorch: an ONNX file is one network for images of one size")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	return onnx.Import(raw, onnx.ImportOptions{Name: flags.name, Mean: flags.mean, Std: flags.std})
}
