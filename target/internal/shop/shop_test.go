package shop

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"diagnose.example/target/internal/catalogue"
	"diagnose.example/target/internal/faults"
	"diagnose.example/target/internal/telemetry"
)

// street is a whole shop in one process: each service on its own listener with its own faults.
type street struct {
	gateway string
	boards  map[string]*faults.Board

	mu    sync.Mutex
	calls map[string]int // requests by service
}

func openShop(t *testing.T) *street {
	t.Helper()
	s := &street{boards: map[string]*faults.Board{}, calls: map[string]int{}}
	pricing, inventory := s.open(t, Pricing, Config{}), s.open(t, Inventory, Config{})
	checkout := s.open(t, Checkout, Config{PricingURL: pricing, InventoryURL: inventory})
	const closed = "http://127.0.0.1:1" // an instance that is being replaced
	s.gateway = s.open(t, Gateway, Config{CheckoutURLs: []string{checkout, closed}})
	return s
}

func (s *street) open(t *testing.T, service string, c Config) string {
	t.Helper()
	s.boards[service] = &faults.Board{}
	c.Faults, c.Metrics = s.boards[service], telemetry.NewMetrics("test")
	handler, err := New(service, c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls[service]++
		s.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// called returns how many requests a service got since the last look.
func (s *street) called(service string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.calls[service]
	s.calls[service] = 0
	return n
}

func (s *street) switchOn(t *testing.T, service, fault string) {
	t.Helper()
	sw, err := s.boards[service].Find(fault)
	if err != nil {
		t.Fatal(err)
	}
	sw.On(time.Minute)
	t.Cleanup(s.boards[service].Clear)
}

func (s *street) order(t *testing.T, sku string) (int, string) {
	t.Helper()
	resp, err := http.Post(s.gateway+"/checkout?sku="+sku, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestOrderIsPricedReservedPrintedAndStored(t *testing.T) {
	s := openShop(t)
	for n := range 3 {
		status, body := s.order(t, "sku-01")
		var o order
		if err := json.Unmarshal([]byte(body), &o); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s: %v", status, body, err)
		}
		lines := strings.Count(o.Receipt, "\n") + 1
		if o.Number != n+1 || o.Cents <= 0 || len(o.Items) != catalogue.ItemsPerHamper || lines != catalogue.ItemsPerHamper {
			t.Errorf("order %d, %d cents, %d items, %d lines on the receipt", o.Number, o.Cents, len(o.Items), lines)
		}
	}
	if pricing, inventory := s.called(Pricing), s.called(Inventory); pricing != 3 || inventory != 3 {
		t.Errorf("3 orders called pricing %d and inventory %d times, want once each", pricing, inventory)
	}
}

func TestWhatClientsGetWrong(t *testing.T) {
	s := openShop(t)
	for _, sku := range []string{"", "sku-99"} {
		if status, body := s.order(t, sku); status != http.StatusBadRequest || !strings.Contains(body, "sku-01 to sku-30") {
			t.Errorf("sku %q: %d %s", sku, status, body)
		}
	}
	if resp, err := http.Get(s.gateway + "/checkout?sku=sku-01"); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %v %v", resp, err)
	}
}

func TestUnknownServiceIsRefusedWithTheNamesThereAre(t *testing.T) {
	_, err := New("billing", Config{})
	if err == nil || !strings.Contains(err.Error(), `"gateway" "checkout" "pricing" "inventory"`) {
		t.Errorf("got %v", err)
	}
}

func TestInventoryThatIsGoneIsABadGatewayNotACrash(t *testing.T) {
	s := &street{boards: map[string]*faults.Board{}, calls: map[string]int{}}
	checkout := s.open(t, Checkout, Config{PricingURL: s.open(t, Pricing, Config{}), InventoryURL: "http://127.0.0.1:1"})
	s.gateway = s.open(t, Gateway, Config{CheckoutURLs: []string{checkout}})

	if status, body := s.order(t, "sku-01"); status != http.StatusBadGateway || !strings.Contains(body, "cart.reserve: inventory") {
		t.Errorf("%d %s", status, body)
	}
}
