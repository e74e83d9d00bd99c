// Package inference holds the messages of the Open Inference Protocol over
// gRPC, generated from Triton's published definitions: grpc_service.proto and
// model_config.proto of triton-inference-server/common at 83adf7c (BSD-3-Clause,
// the licence heads the files).
//
// make proto generates it again.
package inference

//go:generate protoc --proto_path=. --go_out=. --go_opt=paths=source_relative,Mgrpc_service.proto=weft/oip/inference,Mmodel_config.proto=weft/oip/inference --go-grpc_out=. --go-grpc_opt=paths=source_relative,Mgrpc_service.proto=weft/oip/inference,Mmodel_config.proto=weft/oip/inference grpc_service.proto model_config.proto
