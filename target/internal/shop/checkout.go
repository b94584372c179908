package shop

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"diagnose.example/target/internal/catalogue"
	"diagnose.example/target/internal/faults"
	"diagnose.example/target/internal/telemetry"
	"go.opentelemetry.io/otel/attribute"
)

// checkout turns a hamper into an order: price it, reserve its boxes, have it paid, store it.
type checkout struct {
	client    *http.Client
	pricing   string
	inventory string

	matcher    *PriceMatcher
	promotions *PromotionRules
	stock      *StockCache
	payments   *PaymentNotifier
	sessions   *SessionStore
	receipts   *ReceiptPrinter
	ledger     *OrderLedger

	oneByOne *faults.Switch
	storming *faults.Switch
}

func newCheckout(c Config) *checkout {
	return &checkout{
		client:     telemetry.NewClient(callTimeout),
		pricing:    c.PricingURL,
		inventory:  c.InventoryURL,
		matcher:    newPriceMatcher(c.Faults),
		promotions: newPromotionRules(c.Faults),
		stock:      newStockCache(c.Faults),
		payments:   newPaymentNotifier(c.Faults, c.OrphanLeaks),
		sessions:   newSessionStore(c.Faults),
		receipts:   newReceiptPrinter(c.Faults),
		ledger:     newOrderLedger(c.Faults),
		oneByOne: c.Faults.Add(faults.Fault{Name: "n-plus-one",
			Description: "prices are asked for item by item, 30 calls to pricing per order instead of one"}),
		storming: c.Faults.Add(faults.Fault{Name: "retry-storm",
			Description: fmt.Sprintf("reservations go to a closed warehouse (503) and are retried %d times without a pause", reserveAttempts)}),
	}
}

// order is a hamper on its way through checkout.
type order struct {
	SKU     string           `json:"sku"`
	Number  int              `json:"number"`
	Items   []catalogue.Item `json:"items"`
	Cents   int              `json:"cents"`
	Receipt string           `json:"receipt"`
}

func (c *checkout) checkout(w http.ResponseWriter, r *http.Request) error {
	sku, err := orderedSKU(r)
	if err != nil {
		return err
	}
	o := &order{SKU: sku, Items: catalogue.Basket(sku)}
	for _, step := range []struct {
		span string
		work func(context.Context, *order) error
	}{
		{"price.match", c.price},
		{"promotion.apply", c.promote},
		{"cart.reserve", c.reserve},
		{"payment.confirm", c.pay},
		{"receipt.render", c.printReceipt},
		{"order.store", c.store},
	} {
		err := telemetry.InSpan(r.Context(), step.span, func(ctx context.Context) error { return step.work(ctx, o) },
			forSKU(sku, attribute.Int("app.cart.items", len(o.Items))))
		if err != nil {
			return fmt.Errorf("%s: %w", step.span, err)
		}
	}
	writeJSON(w, http.StatusOK, o)
	return nil
}

func (c *checkout) price(ctx context.Context, o *order) error {
	fetch := c.fetchQuote
	if c.oneByOne.Active() {
		fetch = c.fetchQuoteItemByItem
	}
	prices, err := fetch(ctx, o)
	if err != nil {
		return err
	}
	for i, item := range o.Items {
		o.Items[i].Cents = prices[item.ID]
	}
	o.Cents = c.matcher.Match(o.Items)
	return nil
}

func (c *checkout) promote(_ context.Context, o *order) error {
	o.Cents -= c.promotions.Discount(o.Items)
	return nil
}

func (c *checkout) reserve(ctx context.Context, o *order) error {
	if missing := c.stock.Missing(o.Items); missing > 0 {
		return &failure{http.StatusConflict, fmt.Sprintf("%d items are out of stock", missing)}
	}
	reserve := c.reserveOnce
	if c.storming.Active() {
		reserve = c.reserveWithoutBackoff
	}
	done, err := reserve(ctx, o)
	o.Number = done.Number
	return err
}

func (c *checkout) pay(_ context.Context, o *order) error {
	c.payments.Confirm(o)
	return nil
}

func (c *checkout) printReceipt(_ context.Context, o *order) error {
	o.Receipt = c.receipts.Print(o)
	return nil
}

func (c *checkout) store(_ context.Context, o *order) error {
	c.sessions.Save(o)
	return c.ledger.Store(o)
}

// fetchQuote asks pricing for the unit prices of the whole cart at once.
func (c *checkout) fetchQuote(ctx context.Context, o *order) (map[string]int, error) {
	var answer quote
	err := call(ctx, c.client, Pricing, http.MethodGet, c.pricing+"/quote?"+url.Values{"sku": {o.SKU}}.Encode(), &answer)
	return answer.Cents, err
}

// fetchQuoteItemByItem is the fault "n-plus-one": each call is quick, thirty of them one after the other are not.
//
//go:noinline
func (c *checkout) fetchQuoteItemByItem(ctx context.Context, o *order) (map[string]int, error) {
	cents := make(map[string]int, len(o.Items))
	for line := range o.Items {
		query := url.Values{"sku": {o.SKU}, "item": {strconv.Itoa(line + 1)}}
		var answer quote
		if err := call(ctx, c.client, Pricing, http.MethodGet, c.pricing+"/quote?"+query.Encode(), &answer); err != nil {
			return nil, err
		}
		maps.Copy(cents, answer.Cents)
	}
	return cents, nil
}

func (c *checkout) reserveOnce(ctx context.Context, o *order) (reservation, error) {
	return c.reserveIn(ctx, o, warehouseMain)
}

const reserveAttempts = 25

// reserveWithoutBackoff is the fault "retry-storm": it repeats a refused reservation at once, again and again, so that one order
// becomes many requests to a service that is already refusing them.
//
//go:noinline
func (c *checkout) reserveWithoutBackoff(ctx context.Context, o *order) (done reservation, err error) {
	for range reserveAttempts {
		if done, err = c.reserveIn(ctx, o, warehouseNorth); err == nil {
			return done, nil
		}
	}
	return done, fmt.Errorf("after %d attempts: %w", reserveAttempts, err)
}

func (c *checkout) reserveIn(ctx context.Context, o *order, warehouse string) (reservation, error) {
	var done reservation
	query := url.Values{"sku": {o.SKU}, "warehouse": {warehouse}}
	err := call(ctx, c.client, Inventory, http.MethodPost, c.inventory+"/reserve?"+query.Encode(), &done)
	return done, err
}
