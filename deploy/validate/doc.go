// Package validate holds the tests of the manifests beside it: they are decoded strictly into the types of Kubernetes,
// KEDA and KServe, held against each other, and their command lines are run as processes. It is a module of its own,
// so that those types stay out of weft. `go test .` in its folder takes minutes the first time, for it builds them.
package validate
