// Command gen writes the assembly of package kernel. Run it from the folder kernel:
//
//	go -C _gen run . -dir ..
//
// Every function takes its operands on the stack, works on whole tiles and ends in
// VZEROUPPER, because legacy SSE code that follows dirty upper halves of the vector
// registers stalls for hundreds of cycles.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	dir := flag.String("dir", "..", "folder of package kernel")
	flag.Parse()
	if err := generate(*dir); err != nil {
		log.Fatal(err)
	}
}

// files maps each pair of output files, relative to package kernel and without the
// endings, to what generates it.
var files = map[string]func(*asm){
	"conv":        convFile,
	"conv512":     conv512File,
	"convgrad":    convGradFile,
	"convgrad512": convGrad512File,

	"depthwise":    depthwiseFile,
	"columns":      columnsFile,
	"flat":         flatFile,
	"half":         halfFile,
	"lines":        linesFile,
	"lookup":       lookUpFile,
	"near":         nearFile,
	"spin":         spinFile,
	"windowpool":   windowPoolFile,
	"slide":        slideFile,
	"transpose":    transposeFile,
	"int8vnni":     int8VNNIFile,
	"int8avx2":     int8AVX2File,
	"int8rows":     int8RowsFile,
	"int8winograd": int8WinogradFile,
	"peak/peak":    peakFile,

	"winograd":    winogradFile,
	"winograd512": winograd512File,

	"winogradgrad":    winogradGradFile,
	"winogradgrad512": winogradGrad512File,
}

// generate writes all files below dir.
func generate(dir string) error {
	for name, fill := range files {
		if err := generateFile(filepath.Join(dir, name), fill); err != nil {
			return fmt.Errorf("generate %s: %w", name, err)
		}
	}
	return nil
}

func generateFile(path string, fill func(*asm)) error {
	a := &asm{Context: build.NewContext(), consts: map[float32]operand.Mem{}}
	a.ConstraintExpr("!purego")
	fill(a)
	f, err := a.Result()
	if err != nil {
		return err
	}
	if err := pass.Compile.Execute(f); err != nil {
		return err
	}
	cfg := printer.Config{Name: "kernel/_gen", Pkg: "kernel"}
	if filepath.Base(filepath.Dir(path)) == "peak" {
		cfg.Pkg = "peak"
	}
	for end, p := range map[string]printer.Printer{"_amd64.s": printer.NewGoAsm(cfg), "_stub_amd64.go": printer.NewStubs(cfg)} {
		b, err := p.Print(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path+end, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// asm is one output file under construction.
type asm struct {
	*build.Context
	labels int
	consts map[float32]operand.Mem
}

// function starts a function; params is a Go parameter list.
func (a *asm) function(name, doc, params string) {
	a.Function(name)
	a.Attributes(attr.NOSPLIT)
	a.Pragma("noescape")
	a.SignatureExpr("func(" + params + ")")
	a.Doc(strings.Split(name+" "+doc, "\n")...)
}

// end ends a function.
func (a *asm) end() {
	a.VZEROUPPER()
	a.RET()
}

// arg returns the memory operand of a parameter.
func (a *asm) arg(name string) operand.Mem {
	b, err := a.Param(name).Resolve()
	if err != nil {
		log.Fatalf("parameter %s: %v", name, err)
	}
	return b.Addr
}

// load returns a new register that holds a parameter.
func (a *asm) load(name string) reg.GPVirtual {
	r := a.GP64()
	a.MOVQ(a.arg(name), r)
	return r
}

// label returns a label name not used before.
func (a *asm) label(prefix string) string {
	a.labels++
	return fmt.Sprintf("%s%d", prefix, a.labels)
}

// splat returns eight copies of v in read-only memory.
func (a *asm) splat(v float32) operand.Mem {
	m, ok := a.consts[v]
	if !ok {
		m = a.StaticGlobal(fmt.Sprintf("splat%d", len(a.consts)))
		a.DataAttributes(attr.RODATA | attr.NOPTR)
		for range 8 {
			a.AppendDatum(operand.F32(v))
		}
		a.consts[v] = m
	}
	return m
}

// skipZero jumps to label when the parameter is zero, and returns it in a register.
func (a *asm) skipZero(name, label string) reg.GPVirtual {
	r := a.load(name)
	a.TESTQ(r, r)
	a.JZ(operand.LabelRef(label))
	return r
}

// at addresses disp bytes behind a base register.
func at(base reg.Register, disp int) operand.Mem {
	return operand.Mem{Base: base, Disp: disp}
}

// idx addresses base + index·scale + disp.
func idx(base, index reg.Register, scale uint8, disp int) operand.Mem {
	return operand.Mem{Base: base, Index: index, Scale: scale, Disp: disp}
}

// imm is a small non-negative constant operand.
func imm(n int) operand.Constant {
	if n < 128 {
		return operand.I8(n)
	}
	return operand.I32(n)
}
