package load

import (
	"testing"
	"time"

	"diagnose.example/target/internal/catalogue"
)

func first(n int, s *Schedule) []Arrival {
	arrivals := make([]Arrival, n)
	for i := range arrivals {
		arrivals[i] = s.Next()
	}
	return arrivals
}

func TestScheduleDependsOnTheSeedAlone(t *testing.T) {
	one, same, other := first(100, NewSchedule(1, 20)), first(100, NewSchedule(1, 20)), first(100, NewSchedule(2, 20))
	differs := false
	for i := range one {
		if one[i] != same[i] {
			t.Fatalf("arrival %d: %v and %v with the same seed", i, one[i], same[i])
		}
		differs = differs || one[i] != other[i]
	}
	if !differs {
		t.Error("another seed gave the same arrivals")
	}
}

func TestScheduleKeepsTheRateWithoutEvenSpacing(t *testing.T) {
	const n = 10_000
	arrivals := first(n, NewSchedule(1, 20))
	close, last := 0, time.Duration(0)
	for _, a := range arrivals {
		if a.At-last < 5*time.Millisecond { // a tenth of the mean; 9.5 % of a Poisson process
			close++
		}
		last = a.At
	}
	if rps := n / last.Seconds(); rps < 19 || rps > 21 {
		t.Errorf("rate %.1f, want 20", rps)
	}
	if share := float64(close) / n; share < 0.08 || share > 0.11 {
		t.Errorf("%.3f of the arrivals follow closely, want 0.095", share)
	}
}

func TestScheduleOrdersEveryHamperAndTheBestsellerMost(t *testing.T) {
	const n = 10_000
	count := map[string]int{}
	for _, a := range first(n, NewSchedule(1, 20)) {
		if !catalogue.Known(a.SKU) {
			t.Fatalf("the shop does not sell %q", a.SKU)
		}
		count[a.SKU]++
	}
	if len(count) != catalogue.Hampers {
		t.Errorf("%d different hampers, want %d", len(count), catalogue.Hampers)
	}
	// The extra share and its turn among all: 0.1 + 0.9/30.
	if share := float64(count[catalogue.Bestseller]) / n; share < 0.11 || share > 0.15 {
		t.Errorf("bestseller share %.3f, want 0.13", share)
	}
}
