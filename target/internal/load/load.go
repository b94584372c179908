// Package load sends orders to the shop in an open loop: the next one does not wait for the last one's answer, so a slow shop is not
// spared.
package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

const requestTimeout = 10 * time.Second

// Options say what to send.
type Options struct {
	URL      *url.URL
	RPS      float64
	Seed     uint64
	Duration time.Duration
	Limit    int // requests under way at most
}

// Summary is what became of the orders. Failed are those without an answer and those answered with 400 or above; Skipped were never
// sent because too many were under way.
type Summary struct {
	Requests, Failed, Skipped int
	P50, P99                  time.Duration
}

func (s Summary) String() string {
	return fmt.Sprintf("requests=%d failed=%d skipped=%d p50_ms=%.1f p99_ms=%.1f", s.Requests, s.Failed, s.Skipped, ms(s.P50), ms(s.P99))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Run sends orders until the duration is over or ctx ends. At the end of the duration it waits for the answers still due; when ctx
// ends it gives up on them and does not count them.
func Run(ctx context.Context, o Options) Summary {
	return newGenerator(o).run(ctx, o)
}

func newGenerator(o Options) *generator {
	return &generator{
		url:    *o.URL,
		client: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: o.Limit}},
	}
}

func (g *generator) run(ctx context.Context, o Options) Summary {
	slots := make(chan struct{}, o.Limit)
	schedule, start := NewSchedule(o.Seed, o.RPS), time.Now()
	var underWay sync.WaitGroup
	for {
		next := schedule.Next()
		if next.At > o.Duration || !waitUntil(ctx, start.Add(next.At)) {
			break
		}
		select {
		case slots <- struct{}{}:
			underWay.Go(func() {
				g.order(ctx, next.SKU)
				<-slots
			})
		default:
			g.skip()
		}
	}
	underWay.Wait()
	return g.summary()
}

// waitUntil returns false when ctx ends first.
func waitUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

type generator struct {
	url    url.URL
	client *http.Client

	mu      sync.Mutex
	took    []time.Duration
	failed  int
	skipped int
}

func (g *generator) order(ctx context.Context, sku string) {
	target := g.url
	query := target.Query()
	query.Set("sku", sku)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		g.count(0, false)
		return
	}
	start := time.Now()
	resp, err := g.client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if ctx.Err() == nil {
		g.count(time.Since(start), err == nil && resp.StatusCode < http.StatusBadRequest)
	}
}

func (g *generator) count(took time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.took = append(g.took, took)
	if !ok {
		g.failed++
	}
}

func (g *generator) skip() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.skipped++
}

func (g *generator) summary() Summary {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.Sort(g.took)
	s := Summary{Requests: len(g.took), Failed: g.failed, Skipped: g.skipped}
	if n := len(g.took); n > 0 {
		s.P50, s.P99 = g.took[n/2], g.took[n*99/100]
	}
	return s
}
