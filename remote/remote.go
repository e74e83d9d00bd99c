// Package remote runs batches on other machines.
//
// Workers and routers find each other by a bus (package bus), which holds what must be known
// and kept: the workers, with what they measured, and the models, with their bundles. Batches
// go over a gRPC stream from the router to each slot of a worker, so that none of them needs
// the bus. The parts:
//
//	router                                       worker
//	Publish      bundle ──▶ bus ──▶ cache, Load    Work
//	Follow       ◀── registry of workers ◀──       Work
//	executor     ── link ═══ gRPC ═══ session ──   slot, serve.Executor
//
// A router serves a worker's slots as if they were its own ([Follow], [serve.Server.Attach]).
// A worker is lost when its stream breaks, when it is silent for a lease, or when a batch is
// overdue ([Patience]); the requests of the batch then wait again, and what the worker still
// answers is dropped. A worker that was only slow is used again as soon as it answers.
//
// Slots are lent to one router at a time.
package remote
