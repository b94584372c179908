package shop

import (
	"bytes"
	"maps"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"diagnose.example/target/internal/catalogue"
	"diagnose.example/target/internal/faults"
)

// guilty is, for each fault, the function a profile or a stack shows.
var guilty = map[string]any{
	"cpu":         (*PriceMatcher).compareEveryPair,
	"leak":        (*PaymentNotifier).awaitConfirmation,
	"heap":        (*SessionStore).retainEveryCart,
	"lock":        (*OrderLedger).storeAndSyncHoldingLock,
	"dependency":  (*priceDatabase).queryWithoutIndex,
	"errors":      negativeStock,
	"gc":          renderEveryDraft,
	"n-plus-one":  (*checkout).fetchQuoteItemByItem,
	"retry-storm": (*checkout).reserveWithoutBackoff,
	"instance":    (*StockCache).rebuildOnEveryRead,
	"deploy":      (*PromotionRules).recompileForEveryItem,
}

func name(function any) string { return runtime.FuncForPC(reflect.ValueOf(function).Pointer()).Name() }

// TestFaultsAreDescribed keeps FAULTS.md complete: an entry per fault, with the function as pprof writes it.
func TestFaultsAreDescribed(t *testing.T) {
	text, err := os.ReadFile("../../FAULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]string{}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		title, body, _ := strings.Cut(section, "\n")
		if fault, isFault := strings.CutPrefix(title, "`"); isFault {
			entries[strings.TrimRight(fault, "`")] = body
		}
	}
	planted := []string{}
	s := openShop(t)
	for _, board := range s.boards {
		for _, fault := range board.List() {
			planted = append(planted, fault.Name)
		}
	}
	slices.Sort(planted)
	if described := slices.Sorted(maps.Keys(entries)); !slices.Equal(described, planted) {
		t.Errorf("FAULTS.md describes %q, the shop has %q", described, planted)
	}
	for fault, function := range guilty {
		for _, want := range []string{"`" + name(function) + "`", "**What goes wrong.**", "**Alert.**", "**Evidence.**", "**Diagnosis.**"} {
			if !strings.Contains(entries[fault], want) {
				t.Errorf("the entry of %s lacks %s", fault, want)
			}
		}
	}
	if len(guilty) != len(planted) {
		t.Errorf("%d guilty functions for %d faults", len(guilty), len(planted))
	}
}

func TestErrorsAreThoseOfOneHamperAndReachTheClient(t *testing.T) {
	s := openShop(t)
	s.switchOn(t, Inventory, "errors")

	if status, body := s.order(t, catalogue.Bestseller); status != http.StatusBadGateway ||
		!strings.Contains(body, "cart.reserve: inventory answered 500: stock of sku-13 is -1 boxes") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.order(t, "sku-12"); status != http.StatusOK {
		t.Errorf("another hamper: %d %s", status, body)
	}
}

func TestNPlusOneAsksForEveryItem(t *testing.T) {
	s := openShop(t)
	_, want := s.order(t, "sku-01")
	s.called(Pricing)
	s.switchOn(t, Checkout, "n-plus-one")
	status, got := s.order(t, "sku-01")

	if calls := s.called(Pricing); status != http.StatusOK || calls != catalogue.ItemsPerHamper {
		t.Errorf("%d after %d calls to pricing", status, calls)
	}
	if want := strings.Replace(want, `"number":1`, `"number":2`, 1); got != want {
		t.Error("the order is not the same as with one call")
	}
}

func TestRetryStormRepeatsARefusedReservation(t *testing.T) {
	s := openShop(t)
	s.switchOn(t, Checkout, "retry-storm")
	status, body := s.order(t, "sku-01")

	if calls := s.called(Inventory); status != http.StatusBadGateway || calls != reserveAttempts ||
		!strings.Contains(body, "after 25 attempts: inventory answered 503: warehouse north is closed") {
		t.Errorf("%d %s after %d calls to inventory", status, body, calls)
	}
}

// patience is for a machine with more to do than this test.
const patience = time.Minute

// eventually looks until what holds does.
func eventually(t *testing.T, complaint string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal(complaint)
		}
	}
}

// stack tells whether a goroutine is in function.
func stack(t *testing.T, function any) bool {
	t.Helper()
	var text bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&text, 1); err != nil {
		t.Fatal(err)
	}
	return strings.Contains(text.String(), name(function)+"+")
}

func TestFaultsThatKeepTheRequestAreFoundInItsGoroutine(t *testing.T) {
	for fault, service := range map[string]string{
		"cpu": Checkout, "lock": Checkout, "gc": Checkout, "instance": Checkout, "deploy": Checkout, "dependency": Pricing,
		"n-plus-one": Checkout, "retry-storm": Checkout,
	} {
		t.Run(fault, func(t *testing.T) {
			s := openShop(t)
			s.switchOn(t, service, fault)
			stop, done := make(chan struct{}), make(chan struct{})
			defer func() { close(stop); <-done }()
			go func() { // one order may be over before the first snapshot is taken
				defer close(done)
				for {
					select {
					case <-stop:
						return
					default:
						s.order(t, "sku-01")
					}
				}
			}()
			eventually(t, "no snapshot met "+name(guilty[fault]), func() bool { return stack(t, guilty[fault]) })
		})
	}
}

func TestLeakedGoroutinesStayUntilTheFaultsAreCleared(t *testing.T) {
	s := openShop(t)
	s.switchOn(t, Checkout, "leak")
	if status, body := s.order(t, "sku-01"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	eventually(t, "no goroutine waits", func() bool { return stack(t, guilty["leak"]) })
	s.boards[Checkout].Clear()
	eventually(t, "the goroutine still waits", func() bool { return !stack(t, guilty["leak"]) })
}

func TestLeakIsBounded(t *testing.T) {
	var board faults.Board
	n := newPaymentNotifier(&board, false)
	n.leak.On(time.Minute)
	n.count = maxWaiting
	n.expectConfirmation()

	if len(n.waiting) != 0 {
		t.Error("one more goroutine than allowed")
	}
}

func TestRetainedHeapIsBoundedAndReleased(t *testing.T) {
	var board faults.Board
	s := newSessionStore(&board)
	o := &order{Items: catalogue.Basket("sku-01")}
	s.Save(o)
	if len(s.retained) != 0 {
		t.Error("kept without the fault")
	}
	s.heap.On(time.Minute)
	s.Save(o)
	if len(s.retained) != 1 || len(s.retained[0]) < retainedPerOrder*9/10 {
		t.Errorf("%d carts kept", len(s.retained))
	}
	s.retained = make([][]byte, maxRetained/retainedPerOrder)
	s.Save(o)
	if len(s.retained) != maxRetained/retainedPerOrder {
		t.Error("one more cart than allowed")
	}
	board.Clear()
	if s.retained != nil {
		t.Error("not released")
	}
}

func TestFaultsChangeNothingButTheCost(t *testing.T) {
	for _, fault := range []string{"heap", "lock", "gc", "instance", "deploy", "leak"} { // cpu finds conflicts and prices them
		t.Run(fault, func(t *testing.T) {
			healthy, sick := openShop(t), openShop(t)
			sick.switchOn(t, Checkout, fault)
			_, want := healthy.order(t, "sku-07")
			_, got := sick.order(t, "sku-07")

			if got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
		})
	}
}
