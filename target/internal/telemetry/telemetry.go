// Package telemetry is how the shop is observed: spans and OTel metrics pushed over OTLP/HTTP, Prometheus metrics with exemplars, and
// pprof labels that join a profile's samples to the spans.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	otelruntime "go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

const (
	traceBatchTimeout = 500 * time.Millisecond
	metricInterval    = 2 * time.Second
	exportTimeout     = 2 * time.Second
)

// Identity says which process the telemetry comes from.
type Identity struct {
	Service, Instance, Version string
}

// Start installs the process-wide tracer, meter and propagator, exporting to the OTLP/HTTP receiver at endpoint (without a path). A
// receiver that does not answer costs spans and points, never a request. The returned function flushes and stops everything.
func Start(ctx context.Context, id Identity, endpoint string) (stop func(context.Context) error, err error) {
	res, err := resource.Merge(resource.Default(), resource.NewSchemaless(
		semconv.ServiceName(id.Service),
		semconv.ServiceNamespace("shop"),
		semconv.ServiceInstanceID(id.Instance),
		semconv.ServiceVersion(id.Version),
		semconv.DeploymentEnvironmentNameKey.String("demo"),
	))
	if err != nil {
		return nil, fmt.Errorf("resource: %w", err)
	}
	spans, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"), otlptracehttp.WithTimeout(exportTimeout))
	if err != nil {
		return nil, fmt.Errorf("trace exporter: %w", err)
	}
	points, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(endpoint+"/v1/metrics"), otlpmetrichttp.WithTimeout(exportTimeout))
	if err != nil {
		return nil, fmt.Errorf("metric exporter: %w", err)
	}
	tracers := trace.NewTracerProvider(trace.WithResource(res), trace.WithBatcher(spans, trace.WithBatchTimeout(traceBatchTimeout)))
	// go.schedule.duration comes from the producer only, the other runtime metrics from otelruntime.Start.
	meters := metric.NewMeterProvider(metric.WithResource(res), metric.WithReader(metric.NewPeriodicReader(points,
		metric.WithInterval(metricInterval), metric.WithProducer(otelruntime.NewProducer()))))

	otel.SetErrorHandler(&exportLog{})
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	otel.SetTracerProvider(tracers)
	otel.SetMeterProvider(meters)
	if err := otelruntime.Start(); err != nil {
		return nil, fmt.Errorf("runtime metrics: %w", err)
	}
	return func(ctx context.Context) error {
		return errors.Join(tracers.Shutdown(ctx), meters.Shutdown(ctx))
	}, nil
}

// exportLog keeps a receiver that is down from filling the log: the exporters report every failed batch, it writes one line a minute.
type exportLog struct {
	mu      sync.Mutex
	next    time.Time
	dropped int
}

// Handle implements otel.ErrorHandler.
func (l *exportLog) Handle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.next) {
		l.dropped++
		return
	}
	slog.Warn("telemetry export failed", "error", err, "repeats_since_last_line", l.dropped)
	l.next, l.dropped = time.Now().Add(time.Minute), 0
}
