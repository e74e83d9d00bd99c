package pytorch

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
)

// maxFile is the size of the largest file that ReadFile reads, in bytes.
const maxFile = 4 << 30

// legacyMagic begins the files that torch.save wrote before version 1.6.
var legacyMagic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

// ReadFile reads the state dict of the checkpoint at path. Errors about its content do not
// name the file.
func ReadFile(path string) (*State, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("the file has %d bytes, more than the %d that are read", info.Size(), int64(maxFile))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Decode(b)
}

// Is reports whether a file that begins so may be a checkpoint: a zip file, or a pickle.
func Is(start []byte) bool {
	return bytes.HasPrefix(start, []byte("PK")) || len(start) > 1 && start[0] == 0x80 && start[1] >= minProtocol && start[1] <= maxProtocol
}

// Decode reads the state dict of a checkpoint that is in memory. The tensors share b.
func Decode(b []byte) (*State, error) {
	var root any
	var err error
	switch {
	case !Is(b):
		err = errors.New("not a checkpoint of PyTorch: it is neither a zip file nor a pickle")
	case b[0] == 'P':
		root, err = decodeZip(b)
	default:
		root, err = decodeLegacy(b)
	}
	if err != nil {
		return nil, err
	}
	s, err := find(root)
	if err == nil {
		s.size = len(b)
	}
	return s, err
}

// decodeZip reads PyTorch's zip format: an uncompressed archive of one folder, with the
// pickle in data.pkl and the storages in data/KEY.
func decodeZip(b []byte) (any, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("the file is truncated or damaged: %w", err)
	}
	records := map[string]*zip.File{}
	prefix := ""
	for _, f := range z.File {
		records[f.Name] = f
		folder, rest, _ := strings.Cut(f.Name, "/")
		switch rest {
		case "data.pkl":
			prefix = folder + "/"
		case "constants.pkl":
			return nil, errors.New("the file holds a TorchScript program: save the state_dict of the module instead")
		}
	}
	if prefix == "" {
		return nil, errors.New("the zip file is not a checkpoint of PyTorch: it has no data.pkl")
	}
	record := func(name string) ([]byte, error) {
		f := records[prefix+name]
		if f == nil {
			return nil, fmt.Errorf("the archive has no record %s", name)
		}
		return stored(b, f)
	}
	if records[prefix+"byteorder"] != nil {
		order, err := record("byteorder")
		if err != nil {
			return nil, err
		}
		if string(order) != "little" {
			return nil, fmt.Errorf("the file has byte order %s: only little is read", show(string(order)))
		}
	}
	data, err := record("data.pkl")
	if err != nil {
		return nil, err
	}
	storages := map[string]*storage{}
	u := &unpickler{in: data, call: call, load: func(id tuple) (any, error) {
		s, err := storageOf(id, storages)
		if err != nil || s.data != nil {
			return s, err
		}
		if s.data, err = record("data/" + s.key); err != nil {
			return nil, err
		}
		return s, s.check()
	}}
	return u.run()
}

// stored returns the bytes of an archive's record, which torch.save never compresses.
func stored(b []byte, f *zip.File) ([]byte, error) {
	if f.Method != zip.Store {
		return nil, fmt.Errorf("record %s is compressed, which torch.save never does: save the checkpoint again", show(f.Name))
	}
	off, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", show(f.Name), err)
	}
	if n := f.UncompressedSize64; off < 0 || off > int64(len(b)) || n > uint64(int64(len(b))-off) {
		return nil, fmt.Errorf("record %s is truncated", show(f.Name))
	}
	return b[off:][:f.UncompressedSize64:f.UncompressedSize64], nil
}

// decodeLegacy reads the format before version 1.6: five pickles (a magic number, the
// version of the protocol, the machine, the object, the keys of the storages), then for
// each storage the number of its elements (8 bytes, little-endian) and the elements.
func decodeLegacy(b []byte) (any, error) {
	storages := map[string]*storage{}
	u := &unpickler{in: b, call: call, load: func(id tuple) (any, error) { return storageOf(id, storages) }}
	magic, err := u.run()
	if n, ok := magic.(*big.Int); err != nil || !ok || n.Cmp(legacyMagic) != 0 {
		return nil, errors.New("the pickle was not written by torch.save")
	}
	if version, err := u.run(); err != nil || version != int64(1001) {
		return nil, fmt.Errorf("the checkpoint has protocol version %s: must be 1001", show(version))
	}
	machine, err := u.run()
	if err != nil {
		return nil, err
	}
	if d, ok := machine.(*dict); ok && d.get("little_endian") == false {
		return nil, errors.New("the file was written on a big-endian machine: only little-endian is read")
	}
	root, err := u.run()
	if err != nil {
		return nil, err
	}
	keys, err := u.run()
	if err != nil {
		return nil, err
	}
	l, ok := keys.(*list)
	if !ok {
		return nil, errors.New("the file does not list its storages")
	}
	return root, u.storages(l.items, storages)
}

// storages reads the elements of the listed storages, which follow the pickles.
func (u *unpickler) storages(keys []any, storages map[string]*storage) error {
	for _, k := range keys {
		key, _ := k.(string)
		s := storages[key]
		if s == nil || s.data != nil {
			return fmt.Errorf("the file holds storage %s, which no tensor uses or which it has held before", show(k))
		}
		n, err := u.take(8)
		if err != nil {
			return fmt.Errorf("the file is truncated before storage %s", key)
		}
		if binary.LittleEndian.Uint64(n) != uint64(s.len) {
			return fmt.Errorf("storage %s holds %d elements and its tensors expect %d", key, binary.LittleEndian.Uint64(n), s.len)
		}
		if s.len > int64((len(u.in)-u.pos)/s.dtype.size) {
			return fmt.Errorf("the file is truncated in storage %s", key)
		}
		s.data, err = u.take(uint64(s.len) * uint64(s.dtype.size))
		if err != nil {
			return err
		}
	}
	for key, s := range storages {
		if s.data == nil {
			return fmt.Errorf("the file lacks storage %s", key)
		}
	}
	return nil
}
