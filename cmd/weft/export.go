package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"weft/atomicfile"
	"weft/bundle"
	"weft/onnx"
	"weft/safetensors"
	"weft/supernet"
)

// newExportCmd returns the export command.
func newExportCmd() *cobra.Command {
	var (
		which, out  string
		pixels, in8 bool
	)
	cmd := &cobra.Command{
		Use:   "export [model.weft]",
		Short: "Write one subnet as a network of its own",
		Long: `Write one subnet as a network of its own, in the format that the ending of --output names:

  .onnx         for other runtimes: input images [N,C,H,W] of (pixel/255 - mean)/std, output logits. With --pixels the
                input is [N,H,W,C] of pixel/255, as weft serve takes it, and the file normalises. With --int8 it is
                the subnet in int8, in QDQ form, of a bundle that weft quantise wrote
  .safetensors  its weights as arrays, with the normalisations folded in
  .weft         a bundle of this subnet alone

Without a bundle the one built in is used.`,
		Example: "  weft export fashion.weft --subnet max -o net.onnx\n  weft export --subnet d1_e25_w34 -o small.weft\n  weft export both.weft --subnet min --int8 -o min.onnx",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return usagef("missing --output: name a file that ends in .onnx, .safetensors or .weft")
			}
			m, err := openModel(strings.Join(args, ""))
			if err != nil {
				return err
			}
			archs, err := chooseSubnets(m, which)
			if err != nil {
				return err
			}
			if len(archs) != 1 {
				return usagef("--subnet %s names %d subnets: choose max, min, or one architecture", which, len(archs))
			}
			ext := filepath.Ext(out)
			if (in8 || pixels) && ext != ".onnx" {
				return usagef("--int8 and --pixels are for .onnx; a .weft has the subnet's int8 without being asked")
			}
			switch ext {
			case ".onnx":
				return exportONNX(m.Bundle, archs[0], out, pixels, in8)
			case ".safetensors":
				return exportArrays(m.Bundle, archs[0], out)
			case ".weft":
				return exportBundle(m.Bundle, archs[0], out)
			default:
				return usagef("--output %s: the file's ending must be .onnx, .safetensors or .weft", out)
			}
		},
	}
	f := cmd.Flags()
	f.StringVar(&which, "subnet", "max", "subnet to write: max, min, or one architecture")
	f.StringVarP(&out, "output", "o", "", "file to write")
	f.BoolVar(&pixels, "pixels", false, "ONNX: take [N,H,W,C] of pixel/255 and normalise in the graph")
	f.BoolVar(&in8, "int8", false, "ONNX: write the subnet in int8")
	must(cmd.MarkFlagFilename("output", "onnx", "safetensors", "weft"))
	return cmd
}

func exportONNX(b *bundle.Bundle, a supernet.Arch, path string, pixels, in8 bool) error {
	raw, err := encodeONNX(b, a, onnx.Options{Pixels: pixels, Producer: thisBuild().Version, Classes: b.ClassNames}, in8)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	})
}

func encodeONNX(b *bundle.Bundle, a supernet.Arch, o onnx.Options, in8 bool) ([]byte, error) {
	if !in8 {
		return onnx.Export(b.Net, b.Norms, a, o)
	}
	name := b.Net.Space.Format(a)
	if err := b.Ranges.Check(b.Net.Space, a); err != nil {
		return nil, fmt.Errorf("the bundle has no int8 of subnet %s; weft quantise adds int8 to the subnets that a bundle lists", name)
	}
	n, err := supernet.NewInt8(b.Net, b.Norms, b.Ranges).Network(a)
	if err != nil {
		return nil, err
	}
	return onnx.ExportInt8(n, name, o)
}

// exportArrays writes what onnx.Folded returns, with the description of the network.
func exportArrays(b *bundle.Bundle, a supernet.Arch, path string) error {
	net, norms, err := b.Net.Cut(a, b.Norms)
	if err != nil {
		return err
	}
	params, err := onnx.Folded(net, norms)
	if err != nil {
		return err
	}
	f := &safetensors.File{Metadata: map[string]string{
		"subnet": b.Net.Space.Format(a), "network": net.Space.Name,
		"classes": strings.Join(b.ClassNames, "\n"),
	}}
	for _, p := range params {
		f.Tensors = append(f.Tensors, safetensors.NewF32(p.Name, p.Shape, p.Values))
	}
	f.Tensors = append(f.Tensors,
		safetensors.NewF32("mean", []int{len(net.Mean)}, net.Mean), safetensors.NewF32("std", []int{len(net.Std)}, net.Std))
	return f.WriteFile(path)
}

// exportBundle writes a bundle of the subnet alone.
func exportBundle(b *bundle.Bundle, a supernet.Arch, path string) error {
	c, err := b.Cut(a)
	if err != nil {
		return err
	}
	return c.Write(path, false)
}
