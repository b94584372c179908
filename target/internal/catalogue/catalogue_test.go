package catalogue

import (
	"slices"
	"testing"
)

func TestBasketsAreTheSameEverywhere(t *testing.T) {
	for n := range Hampers {
		sku := SKU(n + 1)
		items := Basket(sku)
		if !Known(sku) || len(items) != ItemsPerHamper || !slices.Equal(items, Basket(sku)) {
			t.Errorf("%s: known %t, %d items, or two different baskets", sku, Known(sku), len(items))
		}
		for _, item := range items {
			if item.Category < 0 || item.Category >= categories || item.Quantity < 1 || item.Cents < 1 || item.ID == "" {
				t.Errorf("%s: nonsense item %+v", sku, item)
			}
		}
	}
}

func TestUnknownHampers(t *testing.T) {
	for _, sku := range []string{"", "sku-00", "sku-31", "SKU-01", "sku-1"} {
		if Known(sku) {
			t.Errorf("%q is not sold", sku)
		}
	}
	if !Known(Bestseller) {
		t.Error("the bestseller must be sold")
	}
}
