// Package shop is the sample system: four HTTP services that sell hampers.
//
//	gateway ──→ checkout (any number of instances) ──→ pricing    GET  /quote
//	                                               └─→ inventory  POST /reserve
//
// Each planted fault lives in the service whose name it is registered under, in a function named after what goes wrong; FAULTS.md
// lists them with the diagnosis a tool should reach.
package shop

import (
	"fmt"
	"net/http"

	"diagnose.example/target/internal/catalogue"
	"diagnose.example/target/internal/faults"
	"diagnose.example/target/internal/telemetry"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// The services of the shop.
const (
	Gateway   = "gateway"
	Checkout  = "checkout"
	Pricing   = "pricing"
	Inventory = "inventory"
)

// Config is what a service needs from its surroundings. URLs are without a path; a service ignores those it does not call.
type Config struct {
	CheckoutURLs []string
	PricingURL   string
	InventoryURL string
	OrphanLeaks  bool // leave the channels of the leak fault unreachable: the goroutineleak profile sees them, nobody can end them
	Metrics      *telemetry.Metrics
	Faults       *faults.Board
}

// New builds a service and adds its faults to the board of c.
func New(service string, c Config) (http.Handler, error) {
	mux := http.NewServeMux()
	serve := func(method, route string, answer endpoint) {
		mux.Handle(method+" "+route, c.Metrics.Instrument(route, answer))
	}
	switch service {
	case Gateway:
		serve("POST", "/checkout", newGateway(c).checkout)
	case Checkout:
		serve("POST", "/checkout", newCheckout(c).checkout)
	case Pricing:
		serve("GET", "/quote", newPricing(c).quote)
	case Inventory:
		serve("POST", "/reserve", newInventory(c).reserve)
	default:
		return nil, fmt.Errorf("no service %q, there are %q", service, []string{Gateway, Checkout, Pricing, Inventory})
	}
	return mux, nil
}

// attrSKU is the key a bad hamper is found by; every server span and every span of work carries it.
const attrSKU = attribute.Key("app.sku")

// orderedSKU reads the sku parameter and notes it on the request's span.
func orderedSKU(r *http.Request) (string, error) {
	sku := r.URL.Query().Get("sku")
	if !catalogue.Known(sku) {
		return "", &failure{http.StatusBadRequest, fmt.Sprintf("sku=%q: the shop sells sku-01 to sku-%d", sku, catalogue.Hampers)}
	}
	trace.SpanFromContext(r.Context()).SetAttributes(attrSKU.String(sku))
	return sku, nil
}

// forSKU are the options of a span that works on one hamper.
func forSKU(sku string, more ...attribute.KeyValue) trace.SpanStartOption {
	return trace.WithAttributes(append(more, attrSKU.String(sku))...)
}
