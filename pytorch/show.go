package pytorch

import (
	"fmt"
	"math/big"
	"strconv"
)

// show prints a Python value in an error: strings and numbers as they are, if they are short
// and printable, everything else by its kind. Values may hold themselves.
func show(v any) string {
	const most = 200 // bytes
	switch v := v.(type) {
	case string:
		cut := v
		if len(v) > most {
			cut = v[:most]
		}
		if q := strconv.Quote(cut); q != `"`+cut+`"` || v == "" {
			cut = q
		}
		if len(v) > most {
			cut += "…"
		}
		return cut
	case int64:
		return strconv.FormatInt(v, 10)
	default:
		return kind(v)
	}
}

// kind names a Python value in errors.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case global:
		return "global " + show(v.String())
	case *Tensor:
		return "tensor"
	case *storage:
		return "storage"
	case int64, *big.Int, float64:
		return "number"
	case *list:
		return "list"
	case *dict:
		return "dict"
	case tuple:
		return "tuple"
	default:
		return fmt.Sprintf("%T", v)
	}
}
