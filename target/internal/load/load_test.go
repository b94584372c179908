package load

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"diagnose.example/target/internal/catalogue"
)

func shop(t *testing.T, handler http.HandlerFunc) *url.URL {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL + "/checkout")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestRunOrdersWhatTheShopSellsAndCountsFailures(t *testing.T) {
	var orders atomic.Int64
	address := shop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !catalogue.Known(r.URL.Query().Get("sku")) {
			t.Errorf("%s %s is no order", r.Method, r.URL)
		}
		if orders.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s := Run(t.Context(), Options{URL: address, RPS: 500, Seed: 1, Duration: 200 * time.Millisecond, Limit: 50})

	if n := int(orders.Load()); s.Requests != n || s.Failed != n/2 || s.Skipped != 0 || n < 50 {
		t.Errorf("%d orders arrived, the summary says %s", n, s)
	}
	if s.P50 <= 0 || s.P99 < s.P50 {
		t.Errorf("impossible percentiles: %s", s)
	}
}

func TestRunSkipsArrivalsWhenTooManyAreUnderWay(t *testing.T) {
	enough := make(chan struct{})
	time.AfterFunc(200*time.Millisecond, func() { close(enough) })
	var underWay, most atomic.Int64
	address := shop(t, func(http.ResponseWriter, *http.Request) {
		most.Store(max(most.Load(), underWay.Add(1)))
		<-enough
		underWay.Add(-1)
	})
	s := Run(t.Context(), Options{URL: address, RPS: 500, Seed: 1, Duration: 100 * time.Millisecond, Limit: 3})

	if s.Requests != 3 || s.Skipped == 0 || most.Load() > 3 {
		t.Errorf("%s, %d at once, want 3 requests and the others skipped", s, most.Load())
	}
}

func TestRunEndsWithItsContextAndForgetsWhatIsUnderWay(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address := shop(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	s := Run(ctx, Options{URL: address, RPS: 100, Seed: 1, Duration: time.Hour, Limit: 1})

	if s.Requests != 0 || s.Failed != 0 {
		t.Errorf("%s, want nothing counted", s)
	}
}

func TestSummaryIsOneLine(t *testing.T) {
	s := Summary{Requests: 10, Failed: 1, Skipped: 2, P50: 4200 * time.Microsecond, P99: 20 * time.Millisecond}
	if want := "requests=10 failed=1 skipped=2 p50_ms=4.2 p99_ms=20.0"; s.String() != want {
		t.Errorf("got %q, want %q", s, want)
	}
}
