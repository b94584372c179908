package shop

import (
	"math/rand/v2"
	"slices"

	"diagnose.example/target/internal/catalogue"
	"diagnose.example/target/internal/faults"
)

const (
	offerCount  = 4000
	maxQuantity = 3
)

// offer is a price reduction for items of one category, from a minimum quantity on.
type offer struct {
	category    int
	minQuantity int
	percent     int
	budget      int // cents this offer may still give away
}

// PriceMatcher finds the best offer for every item of a cart.
type PriceMatcher struct {
	offers []offer
	cpu    *faults.Switch
}

func newPriceMatcher(board *faults.Board) *PriceMatcher {
	random := rand.New(rand.NewPCG(1, 1)) // the same offers in every process and every run
	offers := make([]offer, offerCount)
	for i := range offers {
		offers[i] = offer{category: random.IntN(16), minQuantity: 1 + random.IntN(maxQuantity), percent: random.IntN(20), budget: random.IntN(5000)}
	}
	return &PriceMatcher{
		offers: offers,
		cpu:    board.Add(faults.Fault{Name: "cpu", Description: "every order compares every pair of offers: some 40 ms of CPU per order"}),
	}
}

// Match returns what the items cost in cents, each with the best offer that applies to it.
func (m *PriceMatcher) Match(items []catalogue.Item) int {
	total := 0
	for _, item := range items {
		total += m.bestPrice(item)
	}
	if m.cpu.Active() {
		total -= m.compareEveryPair()
	}
	return total
}

func (m *PriceMatcher) bestPrice(item catalogue.Item) int {
	var applicable []offer
	for _, o := range m.offers {
		if o.category == item.Category && item.Quantity >= o.minQuantity {
			applicable = append(applicable, o)
		}
	}
	full := item.Cents * item.Quantity
	slices.SortFunc(applicable, func(a, b offer) int { return reduction(b, full) - reduction(a, full) })
	if len(applicable) == 0 {
		return full
	}
	return full - reduction(applicable[0], full)
}

// reduction is what an offer takes off an amount, in cents.
func reduction(o offer, cents int) int { return min(cents*o.percent/100, o.budget) }

// compareEveryPair is the fault "cpu": it looks for offers that cancel each other out by trying all pairs, for every quantity from two
// on anew. The work per order is fixed, not the time, so a busy machine does not make it milder.
//
//go:noinline
func (m *PriceMatcher) compareEveryPair() int {
	conflicts := 0
	for quantity := 2; quantity <= maxQuantity; quantity++ {
		for _, a := range m.offers {
			for _, b := range m.offers {
				if a.category == b.category && a.minQuantity+b.minQuantity == 2*quantity && a.budget*b.percent == b.budget*a.percent+1 {
					conflicts++
				}
			}
		}
	}
	return conflicts
}
