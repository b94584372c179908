package shop

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"diagnose.example/target/internal/catalogue"
	"diagnose.example/target/internal/faults"
	"diagnose.example/target/internal/telemetry"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// quote is what pricing answers: the unit price in cents of each item asked for.
type quote struct {
	Cents map[string]int `json:"cents"`
}

// pricing knows what items cost today: GET /quote?sku=sku-01 for a whole hamper, &item=7 for one line of it.
type pricing struct {
	database *priceDatabase
	slow     *faults.Switch
}

func newPricing(c Config) *pricing {
	return &pricing{
		database: &priceDatabase{},
		slow: c.Faults.Add(faults.Fault{Name: "dependency",
			Description: "every price query scans the whole table and takes 400 ms"}),
	}
}

func (p *pricing) quote(w http.ResponseWriter, r *http.Request) error {
	sku, err := orderedSKU(r)
	if err != nil {
		return err
	}
	items := catalogue.Basket(sku)
	if line := r.URL.Query().Get("item"); line != "" {
		n, err := strconv.Atoi(line)
		if err != nil || n < 1 || n > len(items) {
			return &failure{http.StatusBadRequest, fmt.Sprintf("item=%q: a hamper has lines 1 to %d", line, len(items))}
		}
		items = items[n-1 : n]
	}

	lookup := p.database.query
	if p.slow.Active() {
		lookup = p.database.queryWithoutIndex
	}
	var found quote
	err = telemetry.InSpan(r.Context(), "db.query", func(ctx context.Context) error {
		found.Cents = lookup(items)
		return nil
	}, trace.WithSpanKind(trace.SpanKindClient), forSKU(sku,
		semconv.DBSystemNamePostgreSQL,
		semconv.DBNamespace("prices"),
		semconv.DBCollectionName("price_list"),
		semconv.DBOperationName("SELECT"),
		semconv.DBQueryText("SELECT item, cents FROM price_list WHERE item = ANY($1)"),
		semconv.ServerAddress("prices-db")))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, found)
	return nil
}

// priceDatabase stands in for the database of prices; the waiting is what a client sees of one.
type priceDatabase struct{}

const (
	indexLookup = 2 * time.Millisecond
	tableScan   = 400 * time.Millisecond
)

func (d *priceDatabase) query(items []catalogue.Item) map[string]int {
	time.Sleep(indexLookup)
	return d.rows(items)
}

// queryWithoutIndex is the fault "dependency". It burns no CPU here: a profile of pricing shows nothing, the span shows everything.
//
//go:noinline
func (d *priceDatabase) queryWithoutIndex(items []catalogue.Item) map[string]int {
	time.Sleep(tableScan)
	return d.rows(items)
}

func (d *priceDatabase) rows(items []catalogue.Item) map[string]int {
	cents := make(map[string]int, len(items))
	for _, item := range items {
		cents[item.ID] = item.Cents
	}
	return cents
}
