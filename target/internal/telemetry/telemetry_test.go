package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	apitrace "go.opentelemetry.io/otel/trace"
)

// recordSpans installs a tracer whose spans the returned exporter keeps. Each test needs its own: the tracer is one per process, and
// Start replaces it.
func recordSpans() *tracetest.InMemoryExporter {
	spans := tracetest.NewInMemoryExporter()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSyncer(spans)))
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return spans
}

// goroutines is the goroutine profile as text, with labels.
func goroutines(t *testing.T) string {
	t.Helper()
	var text bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&text, 1); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func labels(ctx context.Context) string {
	trace, _ := pprof.Label(ctx, labelTrace)
	span, _ := pprof.Label(ctx, labelSpan)
	route, _ := pprof.Label(ctx, labelRoute)
	return fmt.Sprintf(`{"route":%q, "span_id":%q, "trace_id":%q}`, route, span, trace)
}

func TestRequestGoroutineCarriesTraceSpanAndRoute(t *testing.T) {
	recordSpans()
	metrics := NewMetrics("v1")
	handler := metrics.Instrument("/checkout", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		span := apitrace.SpanContextFromContext(r.Context())
		want := fmt.Sprintf(`{"route":"/checkout", "span_id":%q, "trace_id":%q}`, span.SpanID(), span.TraceID())
		if !span.IsValid() || labels(r.Context()) != want || !strings.Contains(goroutines(t), "# labels: "+want) {
			t.Errorf("the context has %s, want %s there and in the goroutine profile", labels(r.Context()), want)
		}
	}))
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/checkout", nil))

	if strings.Contains(goroutines(t), "labels:") {
		t.Error("labels are left when the request is over")
	}
}

func TestInSpanLabelsItsOwnSpanAndGivesTheParentsBack(t *testing.T) {
	spans := recordSpans()
	NewMetrics("v1").Instrument("/checkout", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		outside := labels(r.Context())
		var inside string
		broken := errors.New("out of paper")
		err := InSpan(r.Context(), "receipt.render", func(ctx context.Context) error {
			span := apitrace.SpanContextFromContext(ctx)
			inside = labels(ctx)
			if !strings.Contains(inside, span.SpanID().String()) || !strings.Contains(goroutines(t), inside) {
				t.Errorf("labels inside are %s, the span is %s", inside, span.SpanID())
			}
			return broken
		})
		if !errors.Is(err, broken) || inside == outside || !strings.Contains(goroutines(t), outside) {
			t.Errorf("error %v; labels %s outside, %s inside", err, outside, inside)
		}
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/checkout", nil))

	recorded := spans.GetSpans()
	if len(recorded) != 2 {
		t.Errorf("%d spans, want that of the request and that of the work", len(recorded))
	}
	for _, span := range recorded {
		if span.Name == "receipt.render" && (span.Status.Code != codes.Error || span.Status.Description != "out of paper") {
			t.Errorf("span status %+v, want the error", span.Status)
		}
	}
}

func TestConnectionsDoNotKeepTheLabelsOfTheRequestThatOpenedThem(t *testing.T) {
	recordSpans()
	callee := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Traceparent") == "" {
			t.Error("the call does not carry the trace")
		}
		io.WriteString(w, "ok")
	}))
	defer callee.Close()
	client := NewClient(time.Minute)
	defer client.CloseIdleConnections()
	NewMetrics("v1").Instrument("/checkout", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, callee.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/checkout", nil))

	connections := 0
	for stack := range strings.SplitSeq(goroutines(t), "\n\n") {
		if !strings.Contains(stack, "persistConn") {
			continue
		}
		connections++
		if strings.Contains(stack, "labels:") {
			t.Errorf("an idle connection has labels:\n%s", stack)
		}
	}
	if connections == 0 {
		t.Error("no idle connection seen")
	}
}

func TestMetricsHaveExemplarsOfTheTrace(t *testing.T) {
	recordSpans()
	metrics := NewMetrics("v7")
	var trace string
	metrics.Instrument("/quote", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trace = apitrace.SpanContextFromContext(r.Context()).TraceID().String()
		w.WriteHeader(http.StatusBadGateway)
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/quote", nil))

	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(answer, request)
	for _, want := range []string{
		`http_requests_total{code="502",method="GET",route="/quote"} 1.0 # {`,
		`http_request_duration_seconds_bucket{code="502",method="GET",route="/quote",le="0.001"}`,
		`trace_id="` + trace + `"`,
		`target_build_info{version="v7"} 1.0`,
		"go_gc_heap_live_bytes ", "go_goroutines ", "go_sync_mutex_wait_total_seconds_total ",
		"go_cpu_classes_gc_total_cpu_seconds_total ", "go_sched_latencies_seconds_bucket", "process_cpu_seconds_total ",
	} {
		if !strings.Contains(answer.Body.String(), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

func TestReceiverThatIsDownCostsNoRequest(t *testing.T) {
	stop, err := Start(t.Context(), Identity{Service: "checkout", Instance: "checkout-1", Version: "v1"}, "http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	NewMetrics("v1").Instrument("/checkout", http.NotFoundHandler()).
		ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/checkout", nil))
	if answer.Code != http.StatusNotFound {
		t.Errorf("answered %d", answer.Code)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if stop(ctx) == nil {
		t.Error("the last flush cannot have worked")
	}
}
