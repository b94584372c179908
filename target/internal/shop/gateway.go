package shop

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"diagnose.example/target/internal/telemetry"
)

// gateway spreads orders over the instances of checkout.
type gateway struct {
	client    *http.Client
	checkouts []string
	turn      atomic.Uint64
}

func newGateway(c Config) *gateway {
	return &gateway{client: telemetry.NewClient(callTimeout), checkouts: c.CheckoutURLs}
}

func (g *gateway) checkout(w http.ResponseWriter, r *http.Request) error {
	if _, err := orderedSKU(r); err != nil {
		return err
	}
	resp, err := g.forward(r.Context(), r.URL.RawQuery)
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	_, err = io.Copy(w, resp.Body)
	return err
}

// forward posts the order to the next instance in turn. An instance that cannot even be connected to has not seen the order, so the
// next one may have it: an instance that is being replaced costs no errors.
func (g *gateway) forward(ctx context.Context, query string) (*http.Response, error) {
	var refused error
	for range g.checkouts {
		base := g.checkouts[g.turn.Add(1)%uint64(len(g.checkouts))]
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/checkout?"+query, nil)
		if err != nil {
			return nil, err
		}
		resp, err := g.client.Do(req)
		if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
			refused = errors.Join(refused, err)
			continue
		}
		return resp, err
	}
	return nil, refused
}
