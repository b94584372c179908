// Otlpsender sends spans and a counter with the OpenTelemetry SDK for Go and prints how many.
//
//	otlpsender http|grpc ADDRESS SPANS [A_SECOND]
//
// It waits for minutes for a receiver that is away, and catches up afterwards when it has a rate to keep. What it cannot
// deliver is reported on stderr.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const patience = 5 * time.Minute

func main() {
	ctx := context.Background()
	spans, err := strconv.Atoi(os.Args[3])
	check(err)
	pause := pauseOf(os.Args[4:])
	traceExporter, metricExporter := exporters(ctx, os.Args[1], os.Args[2])
	from := resource.NewSchemaless(attribute.String("service.name", "sender-"+os.Args[1]))

	tracers := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(traceExporter, sdktrace.WithBlocking(), sdktrace.WithExportTimeout(patience)),
		sdktrace.WithResource(from))
	meters := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metricExporter, sdkmetric.WithTimeout(patience))), sdkmetric.WithResource(from))
	counter, err := meters.Meter("otlpsender").Int64Counter("sent")
	check(err)
	began := time.Now()
	for number := range spans {
		time.Sleep(time.Until(began.Add(time.Duration(number) * pause)))
		_, span := tracers.Tracer("otlpsender").Start(ctx, "send", trace.WithSpanKind(trace.SpanKindClient))
		span.SetAttributes(attribute.Int("number", number), attribute.StringSlice("kinds", []string{"a", "b"}))
		span.AddEvent("sent", trace.WithAttributes(attribute.Bool("ok", true)))
		span.SetStatus(codes.Error, "none")
		span.End()
		counter.Add(ctx, 1, metric.WithAttributes(attribute.String("kind", "span")))
	}
	check(tracers.Shutdown(ctx))
	check(meters.Shutdown(ctx))
	fmt.Println(spans)
}

// pauseOf is the time between two spans.
func pauseOf(rate []string) time.Duration {
	if len(rate) == 0 {
		return 0
	}
	perSecond, err := strconv.Atoi(rate[0])
	check(err)
	return time.Second / time.Duration(perSecond)
}

func exporters(ctx context.Context, protocol, address string) (sdktrace.SpanExporter, sdkmetric.Exporter) {
	if protocol == "grpc" {
		spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(address), otlptracegrpc.WithInsecure(),
			otlptracegrpc.WithCompressor("gzip"), otlptracegrpc.WithTimeout(patience), otlptracegrpc.WithRetry(
				otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: 100 * time.Millisecond,
					MaxInterval: time.Second, MaxElapsedTime: patience}))
		check(err)
		metrics, err := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(address), otlpmetricgrpc.WithInsecure(),
			otlpmetricgrpc.WithTimeout(patience), otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{Enabled: true,
				InitialInterval: 100 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: patience}))
		check(err)
		return spans, metrics
	}
	spans, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(address), otlptracehttp.WithInsecure(),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	check(err)
	metrics, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(address), otlpmetrichttp.WithInsecure())
	check(err)
	return spans, metrics
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
