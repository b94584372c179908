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
	s := Run(t.Context(), Options{URL: address, RPS: 500, Seed: 1, Duration: 200 * time.Millisecond, Limit: 1000})

	if n := int(orders.Load()); s.Requests != n || s.Failed != n/2 || s.Skipped != 0 || n < 50 {
		t.Errorf("%d orders arrived, the summary says %s", n, s)
	}
	if s.P50 <= 0 || s.P99 < s.P50 {
		t.Errorf("impossible percentiles: %s", s)
	}
}

func TestRunSkipsArrivalsWhenTooManyAreUnderWay(t *testing.T) {
	skipped := make(chan struct{})
	var orders atomic.Int64
	address := shop(t, func(http.ResponseWriter, *http.Request) {
		orders.Add(1)
		<-skipped
	})
	o := Options{URL: address, RPS: 500, Seed: 1, Duration: 100 * time.Millisecond, Limit: 3}
	others := arrivals(o) - o.Limit
	g := newGenerator(o)
	go func() { // the first three are answered when all others have come
		for g.summary().Skipped < others {
			time.Sleep(time.Millisecond)
		}
		close(skipped)
	}()
	s := g.run(t.Context(), o)

	if s.Requests != o.Limit || s.Skipped != others || int(orders.Load()) != o.Limit {
		t.Errorf("%s, %d arrived, want %d and the other %d skipped", s, orders.Load(), o.Limit, others)
	}
}

// arrivals is how many orders the schedule has within the duration.
func arrivals(o Options) int {
	n := 0
	for schedule := NewSchedule(o.Seed, o.RPS); schedule.Next().At <= o.Duration; n++ {
	}
	return n
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
