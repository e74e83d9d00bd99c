package main

import (
	"context"

	"weft/guard"
	"weft/oip"
	"weft/scale"
	"weft/serve"
)

// scaler tells KEDA, until ctx ends, how many workers the load needs. Who may ask whether the server is well may ask
// for that too, as KEDA has no key to show.
func scaler(ctx context.Context, s *serve.Server) oip.Service {
	sc := scale.NewScaler(s)
	go sc.Run(ctx)
	return oip.Service{Desc: scale.Desc(), Impl: sc, Right: guard.Probe}
}
