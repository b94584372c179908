package load

import (
	"math/rand/v2"
	"time"

	"diagnose.example/target/internal/catalogue"
)

// bestsellerShare is how often the hamper of the week is ordered beyond its turn.
const bestsellerShare = 0.1

// Arrival is one order: when, counted from the start, and for what.
type Arrival struct {
	At  time.Duration
	SKU string
}

// Schedule is an endless sequence of orders that depends on nothing but the seed and the rate.
//
// Arrivals are a Poisson process. Evenly spaced ones would never meet at a lock that is held for less than the spacing, and would put
// every exemplar at the same phase of a scrape.
type Schedule struct {
	random *rand.Rand
	rps    float64
	at     time.Duration
}

// NewSchedule returns the schedule of a seed at a mean rate.
func NewSchedule(seed uint64, rps float64) *Schedule {
	return &Schedule{random: rand.New(rand.NewPCG(seed, seed)), rps: rps}
}

// Next returns the next order.
func (s *Schedule) Next() Arrival {
	s.at += time.Duration(s.random.ExpFloat64() / s.rps * float64(time.Second))
	sku := catalogue.SKU(1 + s.random.IntN(catalogue.Hampers))
	if s.random.Float64() < bestsellerShare {
		sku = catalogue.Bestseller
	}
	return Arrival{At: s.at, SKU: sku}
}
