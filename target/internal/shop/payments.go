package shop

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"diagnose.example/target/internal/faults"
)

const (
	signatureRounds = 10_000
	// maxWaiting bounds the leak: at about 3 KB a goroutine it is a few hundred MB at most.
	maxWaiting = 100_000
)

// PaymentNotifier signs payments and, while the fault "leak" is on, waits for confirmations that never come.
type PaymentNotifier struct {
	leak   *faults.Switch
	orphan bool

	mu      sync.Mutex
	count   int
	waiting []chan struct{} // empty if orphan: whatever can be reached is no leak to the runtime
}

func newPaymentNotifier(board *faults.Board, orphan bool) *PaymentNotifier {
	n := &PaymentNotifier{orphan: orphan}
	n.leak = board.Add(faults.Fault{Name: "leak",
		Description: "every order leaves a goroutine behind that waits on a channel nobody writes to", Release: n.release})
	return n
}

// Confirm signs the payment of an order.
func (n *PaymentNotifier) Confirm(o *order) [sha256.Size]byte {
	if n.leak.Active() {
		n.expectConfirmation()
	}
	return sign(o)
}

// sign stretches the key the way password hashes do.
func sign(o *order) [sha256.Size]byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(o.SKU), uint64(o.Cents)))
	for range signatureRounds {
		sum = sha256.Sum256(sum[:])
	}
	return sum
}

func (n *PaymentNotifier) expectConfirmation() {
	n.mu.Lock()
	defer n.mu.Unlock()
	// Asked again under the lock, or an order that was under way while the faults were cleared would leak once more.
	if !n.leak.Active() || n.count == maxWaiting {
		return
	}
	confirmed := make(chan struct{})
	n.count++
	if !n.orphan {
		n.waiting = append(n.waiting, confirmed)
	}
	go n.awaitConfirmation(confirmed)
}

// awaitConfirmation is the fault "leak". The goroutine keeps the pprof labels of the order that started it.
//
//go:noinline
func (n *PaymentNotifier) awaitConfirmation(confirmed <-chan struct{}) { <-confirmed }

func (n *PaymentNotifier) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, confirmed := range n.waiting {
		close(confirmed)
	}
	n.count -= len(n.waiting)
	n.waiting = nil
}
