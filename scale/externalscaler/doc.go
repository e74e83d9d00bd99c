// Package externalscaler holds the messages by which KEDA asks an external scaler, with the names and numbers of
// KEDA's own definition (pkg/scalers/externalscaler in kedacore/keda).
//
// `go generate ./scale/externalscaler` makes it again, with protoc 3.21.12, protoc-gen-go v1.36.12
// and protoc-gen-go-grpc v1.6.2.
package externalscaler

//go:generate protoc --proto_path=. --go_out=. --go_opt=paths=source_relative,Mexternalscaler.proto=weft/scale/externalscaler --go-grpc_out=. --go-grpc_opt=paths=source_relative,Mexternalscaler.proto=weft/scale/externalscaler externalscaler.proto
