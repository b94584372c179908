// Otlpsender sends spans and a counter with the OpenTelemetry SDK for Go and prints how many.
//
//	otlpsender http|grpc ADDRESS SPANS
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

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

func main() {
	ctx := context.Background()
	spans, err := strconv.Atoi(os.Args[3])
	check(err)
	traceExporter, metricExporter := exporters(ctx, os.Args[1], os.Args[2])
	from := resource.NewSchemaless(attribute.String("service.name", "sender-"+os.Args[1]))

	tracers := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(traceExporter, sdktrace.WithBlocking()), sdktrace.WithResource(from))
	meters := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metricExporter)), sdkmetric.WithResource(from))
	counter, err := meters.Meter("otlpsender").Int64Counter("sent")
	check(err)
	for number := range spans {
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

func exporters(ctx context.Context, protocol, address string) (sdktrace.SpanExporter, sdkmetric.Exporter) {
	if protocol == "grpc" {
		spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(address), otlptracegrpc.WithInsecure(),
			otlptracegrpc.WithCompressor("gzip"))
		check(err)
		metrics, err := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(address), otlpmetricgrpc.WithInsecure())
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
