// Package wire holds the messages between routers and workers, generated from
// remote.proto, which says what they mean.
//
// `go generate ./remote/wire` makes it again, with protoc 3.21.12, protoc-gen-go v1.36.12
// and protoc-gen-go-grpc v1.6.2.
package wire

//go:generate protoc --proto_path=. --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative remote.proto
