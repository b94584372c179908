package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
)

// Metrics are the Prometheus metrics of one process.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics registers the request metrics, every runtime metric of Go, the process collector and target_build_info.
func NewMetrics(version string) *Metrics {
	labels := []string{"route", "method", "code"}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total", Help: "Requests answered.",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time to answer a request.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, labels),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "target_build_info", Help: "Always 1; the label says which build is running.",
	}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.requests, m.duration, build,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics. OpenMetrics is on because exemplars exist only in that format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// observe counts one answered request, with the trace of ctx as the exemplar.
func (m *Metrics) observe(ctx context.Context, route, method string, code int, took time.Duration) {
	values := []string{route, method, strconv.Itoa(code)}
	count, duration := m.requests.WithLabelValues(values...), m.duration.WithLabelValues(values...)
	span := trace.SpanContextFromContext(ctx)
	if !span.IsSampled() {
		count.Inc()
		duration.Observe(took.Seconds())
		return
	}
	exemplar := prometheus.Labels{labelTrace: span.TraceID().String(), labelSpan: span.SpanID().String()}
	count.(prometheus.ExemplarAdder).AddWithExemplar(1, exemplar)
	duration.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), exemplar)
}
