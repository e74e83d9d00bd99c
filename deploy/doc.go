// Package deploy holds what runs beside a weft server: a dashboard for Grafana and
// alerts for Prometheus. It is a module of its own, so that Prometheus' parser, by
// which its tests read them, stays out of weft.
package deploy
