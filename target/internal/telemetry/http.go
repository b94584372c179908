package telemetry

import (
	"context"
	"net"
	"net/http"
	"runtime/pprof"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// The pprof labels of a request goroutine, and (without route) the labels of an exemplar.
const (
	labelTrace = "trace_id"
	labelSpan  = "span_id"
	labelRoute = "route"
)

const scope = "diagnose.example/target"

// Instrument observes one route: a server span and OTel metrics outside, then the pprof labels, then the Prometheus metrics. The
// labels go inside otelhttp because only there the context holds the span.
func (m *Metrics) Instrument(route string, next http.Handler) http.Handler {
	measured := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, answer := time.Now(), &answer{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(answer, r)
		m.observe(r.Context(), route, r.Method, answer.code, time.Since(start))
	})
	labelled := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		span := trace.SpanContextFromContext(r.Context())
		labels := pprof.Labels(labelTrace, span.TraceID().String(), labelSpan, span.SpanID().String(), labelRoute, route)
		pprof.Do(r.Context(), labels, func(ctx context.Context) { measured.ServeHTTP(w, r.WithContext(ctx)) })
	})
	return otelhttp.NewHandler(labelled, route)
}

// answer remembers the status code a handler wrote.
type answer struct {
	http.ResponseWriter
	code int
}

func (a *answer) WriteHeader(code int) {
	a.code = code
	a.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the writer below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// InSpan runs work inside a span of that name. While it runs the goroutine's pprof label span_id is the new span's; afterwards it is
// the parent's again. An error becomes the span's status and is returned unchanged.
func InSpan(ctx context.Context, name string, work func(context.Context) error, opts ...trace.SpanStartOption) (err error) {
	ctx, span := otel.Tracer(scope).Start(ctx, name, opts...)
	defer span.End()
	pprof.Do(ctx, pprof.Labels(labelSpan, span.SpanContext().SpanID().String()), func(ctx context.Context) { err = work(ctx) })
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}

// NewClient returns an HTTP client whose calls are client spans and carry the trace to the callee.
func NewClient(timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout}
	transport := &http.Transport{
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			// A connection outlives the request that opened it, and its read and write loops would keep that request's labels for
			// ever. They are started by the goroutine that dials, so the labels end here.
			pprof.SetGoroutineLabels(context.Background())
			return dialer.DialContext(ctx, network, address)
		},
	}
	return &http.Client{Timeout: timeout, Transport: otelhttp.NewTransport(transport,
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method + " " + r.URL.Path }))}
}
