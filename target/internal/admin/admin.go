// Package admin is the operator's side of a service, on a listener of its own: profiles, metrics, health and the fault switches.
package admin

import (
	"io"
	"net/http"
	"net/http/pprof"

	"diagnose.example/target/internal/faults"
	"diagnose.example/target/internal/telemetry"
)

// Handler serves /debug/pprof/, /metrics, /healthz and /faults.
func Handler(metrics *telemetry.Metrics, board *faults.Board) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // also every named profile: heap, goroutine, mutex, block, …
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.Handle("GET /metrics", metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.Handle("/faults", board.Handler())
	mux.Handle("/faults/", board.Handler())
	return mux
}
