package shop

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"diagnose.example/target/internal/catalogue"
	"diagnose.example/target/internal/faults"
	"diagnose.example/target/internal/telemetry"
	"go.opentelemetry.io/otel/attribute"
)

const attrWarehouse = attribute.Key("app.warehouse")

// The warehouses. The north one is closed for stocktaking and says so to everybody; healthy services do not ask it.
const (
	warehouseMain  = "main"
	warehouseNorth = "north"
)

// reservation is what inventory answers.
type reservation struct {
	Number int `json:"number"`
	Boxes  int `json:"boxes"`
}

// inventory sets the boxes of a hamper aside: POST /reserve?sku=sku-01&warehouse=main.
type inventory struct {
	miscounted *faults.Switch

	mu       sync.Mutex
	reserved map[string]int // boxes by item
	number   int
}

func newInventory(c Config) *inventory {
	return &inventory{
		reserved: make(map[string]int),
		miscounted: c.Faults.Add(faults.Fault{Name: "errors",
			Description: "reserving " + catalogue.Bestseller + " answers 500, every other sku is fine"}),
	}
}

func (i *inventory) reserve(w http.ResponseWriter, r *http.Request) error {
	sku, err := orderedSKU(r)
	if err != nil {
		return err
	}
	warehouse := r.URL.Query().Get("warehouse")
	var done reservation
	err = telemetry.InSpan(r.Context(), "stock.reserve", func(context.Context) error {
		if warehouse == warehouseNorth {
			return &failure{http.StatusServiceUnavailable, "warehouse north is closed for stocktaking"}
		}
		if sku == catalogue.Bestseller && i.miscounted.Active() {
			return negativeStock(sku)
		}
		done = i.setAside(catalogue.Basket(sku))
		return nil
	}, forSKU(sku, attrWarehouse.String(warehouse)))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, done)
	return nil
}

// negativeStock is the fault "errors".
func negativeStock(sku string) error {
	return &failure{http.StatusInternalServerError, fmt.Sprintf("stock of %s is -1 boxes", sku)}
}

func (i *inventory) setAside(items []catalogue.Item) reservation {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.number++
	done := reservation{Number: i.number}
	for _, item := range items {
		i.reserved[item.ID] += item.Quantity
		done.Boxes += item.Quantity
	}
	return done
}
