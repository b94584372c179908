package shop

import (
	"bytes"
	"encoding/json"
	"runtime/debug"
	"sync"

	"diagnose.example/target/internal/faults"
)

const (
	retainedPerOrder = 512 << 10
	maxRetained      = 512 << 20
	sessionsKept     = 100
)

// SessionStore remembers the last carts and, while the fault "heap" is on, every cart with its whole history.
type SessionStore struct {
	heap *faults.Switch

	mu       sync.Mutex
	recent   [sessionsKept][]byte
	saved    int
	retained [][]byte
}

func newSessionStore(board *faults.Board) *SessionStore {
	s := &SessionStore{}
	s.heap = board.Add(faults.Fault{Name: "heap",
		Description: "every order keeps 512 KiB for ever, up to 512 MiB in all", Release: s.release})
	return s
}

// Save remembers the cart of an order in place of the oldest one.
func (s *SessionStore) Save(o *order) {
	cart, err := json.Marshal(o.Items)
	if err != nil { // a slice of plain structs always encodes
		panic(err)
	}
	s.mu.Lock()
	s.recent[s.saved%sessionsKept] = cart
	s.saved++
	s.mu.Unlock()
	if s.heap.Active() {
		s.retainEveryCart(cart)
	}
}

// retainEveryCart is the fault "heap". The heap profile's leaf is below bytes.Repeat; this is the first frame of the shop.
//
//go:noinline
func (s *SessionStore) retainEveryCart(cart []byte) {
	history := bytes.Repeat(cart, retainedPerOrder/len(cart))
	s.mu.Lock()
	defer s.mu.Unlock()
	// Asked again under the lock, or an order that was under way while the faults were cleared would be kept.
	if s.heap.Active() && len(s.retained) < maxRetained/retainedPerOrder {
		s.retained = append(s.retained, history)
	}
}

func (s *SessionStore) release() {
	s.mu.Lock()
	s.retained = nil
	s.mu.Unlock()
	debug.FreeOSMemory() // so that the resident size falls at once, too, and not some minutes later
}
