// Package inference holds the messages of the Open Inference Protocol over
// gRPC, generated from Triton's published definitions: grpc_service.proto and
// model_config.proto of triton-inference-server/common at 83adf7c (BSD-3-Clause,
// the licence heads the files).
//
// `go generate ./oip/inference` makes it again, with protoc 3.21.12, protoc-gen-go v1.36.12
// and protoc-gen-go-grpc v1.6.2.
package inference

//go:generate protoc --proto_path=. --go_out=. --go_opt=paths=source_relative,Mgrpc_service.proto=weft/oip/inference,Mmodel_config.proto=weft/oip/inference --go-grpc_out=. --go-grpc_opt=paths=source_relative,Mgrpc_service.proto=weft/oip/inference,Mmodel_config.proto=weft/oip/inference grpc_service.proto model_config.proto
