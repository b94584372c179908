// Package faults switches planted faults on and off while a service runs.
//
// A service adds the faults that live in it to a Board and asks each Switch on the request path whether it is on. Every fault has an
// end: it is switched on for a duration and expires by itself, so a forgotten demo heals.
package faults

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// MinDuration and MaxDuration bound how long a fault may be switched on.
	MinDuration = time.Second
	MaxDuration = time.Hour
)

// Fault describes a switchable fault. Release, if set, gives back what the fault kept (goroutines, memory); it is called after the
// fault is off and may be called when nothing was kept.
type Fault struct {
	Name        string
	Description string
	Release     func()
}

// Switch is one fault of one process. It is safe for concurrent use.
type Switch struct {
	fault Fault
	from  atomic.Int64 // unix nanoseconds; a switch armed for later has not begun
	until atomic.Int64 // unix nanoseconds, 0 when off
}

// Active tells whether the fault is on at this moment.
func (s *Switch) Active() bool {
	now := time.Now().UnixNano()
	return now < s.until.Load() && now >= s.from.Load()
}

// On switches the fault on from now, for d.
func (s *Switch) On(d time.Duration) { s.OnAfter(0, d) }

// OnAfter arms the fault: it comes on after wait and stays on for d.
func (s *Switch) OnAfter(wait, d time.Duration) {
	from := time.Now().Add(wait)
	s.from.Store(from.UnixNano())
	s.until.Store(from.Add(d).UnixNano())
}

// Off switches the fault off. What it kept stays until Board.Clear, so that the state after a fault can be looked at.
func (s *Switch) Off() { s.until.Store(0) }

// Status is the state of a fault as the admin listener reports it. Until is nil while the fault is off.
type Status struct {
	Name        string     `json:"name"`
	Active      bool       `json:"active"`
	Until       *time.Time `json:"until"`
	Description string     `json:"description"`
}

func (s *Switch) status() Status {
	st := Status{Name: s.fault.Name, Active: s.Active(), Description: s.fault.Description}
	if st.Active {
		until := time.Unix(0, s.until.Load()).UTC()
		st.Until = &until
	}
	return st
}

// Board holds the faults of one process. Add all of them before serving.
type Board struct {
	switches []*Switch
}

// Add puts a fault on the board and returns its switch, which is off.
func (b *Board) Add(f Fault) *Switch {
	s := &Switch{fault: f}
	b.switches = append(b.switches, s)
	slices.SortFunc(b.switches, func(x, y *Switch) int { return cmp.Compare(x.fault.Name, y.fault.Name) })
	return s
}

// Find returns the switch of that name; the error names the faults there are.
func (b *Board) Find(name string) (*Switch, error) {
	names := make([]string, len(b.switches))
	for i, s := range b.switches {
		if s.fault.Name == name {
			return s, nil
		}
		names[i] = s.fault.Name
	}
	return nil, fmt.Errorf("no fault %q in this service, it has %q", name, names)
}

// Clear switches every fault off and releases what they kept.
func (b *Board) Clear() {
	for _, s := range b.switches {
		s.Off()
	}
	for _, s := range b.switches {
		if s.fault.Release != nil {
			s.fault.Release()
		}
	}
}

// List returns the state of every fault, sorted by name.
func (b *Board) List() []Status {
	list := make([]Status, len(b.switches))
	for i, s := range b.switches {
		list[i] = s.status()
	}
	return list
}
