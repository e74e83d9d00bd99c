// Package pb is the protocol buffers of an ONNX file, as far as weft uses them. model.pb.go is generated from
// model.proto by protoc 3.21 and protoc-gen-go v1.36.12; run go generate after a change.
package pb

//go:generate protoc --go_out=. --go_opt=paths=source_relative model.proto
