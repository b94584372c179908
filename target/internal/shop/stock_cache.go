package shop

import (
	"slices"
	"strings"

	"diagnose.example/target/internal/catalogue"
	"diagnose.example/target/internal/faults"
)

const rebuildsPerOrder = 700

// StockCache knows which items are in stock, as a sorted list of item ids.
type StockCache struct {
	unsorted []string
	sorted   []string
	instance *faults.Switch
}

func newStockCache(board *faults.Board) *StockCache {
	c := &StockCache{instance: board.Add(faults.Fault{Name: "instance",
		Description: "the stock index is rebuilt on every read: some 50 ms of CPU per order. For one instance of several"})}
	for n := range catalogue.Hampers {
		for _, item := range catalogue.Basket(catalogue.SKU(n + 1)) {
			c.unsorted = append(c.unsorted, item.ID)
		}
	}
	// The order in which a warehouse reports: by line first, so that sorting has something to do.
	slices.SortFunc(c.unsorted, func(a, b string) int { return strings.Compare(reverse(a), reverse(b)) })
	c.sorted = slices.Sorted(slices.Values(c.unsorted))
	return c
}

func reverse(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// Missing returns how many of the items are not in stock.
func (c *StockCache) Missing(items []catalogue.Item) int {
	index := c.sorted
	if c.instance.Active() {
		index = c.rebuildOnEveryRead()
	}
	missing := 0
	for _, item := range items {
		if _, found := slices.BinarySearch(index, item.ID); !found {
			missing++
		}
	}
	return missing
}

// rebuildOnEveryRead is the fault "instance". It differs from the fault "cpu" in its name only to be told apart in a profile.
//
//go:noinline
func (c *StockCache) rebuildOnEveryRead() []string {
	index := make([]string, len(c.unsorted))
	for range rebuildsPerOrder {
		copy(index, c.unsorted)
		slices.Sort(index)
	}
	return index
}
