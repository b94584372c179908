// Package catalogue is what the shop sells: thirty hampers, each a basket of thirty items.
//
// Everything here is computed from the hamper's name, so that the services and the load generator agree on it without sharing state.
package catalogue

import (
	"fmt"
	"hash/fnv"
)

const (
	// Hampers is the number of different SKUs, "sku-01" to "sku-30".
	Hampers = 30
	// ItemsPerHamper is the number of lines in the cart of one hamper.
	ItemsPerHamper = 30
	// Bestseller is the hamper of the week; the load generator orders it more often than any other.
	Bestseller = "sku-13"

	categories = 16
)

var kinds = []string{"tea", "coffee", "honey", "jam", "olives", "cheese", "crackers", "chocolate", "nuts", "figs"}

// Item is one line of a cart.
type Item struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Category int    `json:"category"`
	Quantity int    `json:"quantity"`
	Cents    int    `json:"cents"`
}

// SKU returns the name of hamper n, counted from 1.
func SKU(n int) string { return fmt.Sprintf("sku-%02d", n) }

// Known tells whether the shop sells this SKU.
func Known(sku string) bool { return known[sku] }

var known = func() map[string]bool {
	set := make(map[string]bool, Hampers)
	for n := range Hampers {
		set[SKU(n+1)] = true
	}
	return set
}()

// Basket returns the items of a hamper, always the same for the same SKU.
func Basket(sku string) []Item {
	items := make([]Item, ItemsPerHamper)
	for i := range items {
		id := fmt.Sprintf("%s/%02d", sku, i+1)
		h := hash(id)
		items[i] = Item{
			ID:       id,
			Name:     fmt.Sprintf("%s no. %d", kinds[h%uint32(len(kinds))], h%89),
			Category: int(h % categories),
			Quantity: 1 + int(h>>8%3),
			Cents:    150 + int(h>>16%4000),
		}
	}
	return items
}

func hash(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}
