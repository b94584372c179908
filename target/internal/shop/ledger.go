package shop

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"diagnose.example/target/internal/faults"
)

const (
	ordersKept = 200
	diskSync   = 70 * time.Millisecond
)

// OrderLedger keeps the last orders, encoded.
type OrderLedger struct {
	lock *faults.Switch

	mu     sync.Mutex
	orders [ordersKept][]byte
	stored int
}

func newOrderLedger(board *faults.Board) *OrderLedger {
	return &OrderLedger{lock: board.Add(faults.Fault{Name: "lock",
		Description: "the ledger is synced to disk, 70 ms, while its lock is held: orders wait for each other"})}
}

// Store appends an order in place of the oldest one.
func (l *OrderLedger) Store(o *order) error {
	entry, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode order: %w", err)
	}
	if l.lock.Active() {
		l.storeAndSyncHoldingLock(entry)
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(entry)
	return nil
}

// storeAndSyncHoldingLock is the fault "lock". It sleeps rather than works: the CPU profile stays empty, the mutex profile names it.
//
//go:noinline
func (l *OrderLedger) storeAndSyncHoldingLock(entry []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(entry)
	time.Sleep(diskSync)
}

func (l *OrderLedger) append(entry []byte) {
	l.orders[l.stored%ordersKept] = entry
	l.stored++
}
