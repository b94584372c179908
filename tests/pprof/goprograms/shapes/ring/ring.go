// Package ring is a second package of the program's own, with a generic type.
package ring

// Ring keeps the last values pushed.
type Ring[T any] struct {
	values []T
	next   int
}

// New returns a ring of n values.
func New[T any](n int) *Ring[T] { return &Ring[T]{values: make([]T, n)} }

// Push is not inlined, so that a generic method shows in the profile.
//
//go:noinline
func (r *Ring[T]) Push(value T) {
	r.values[r.next%len(r.values)] = value
	r.next++
}

// Fold calls f for each value; f is inlined or a closure.
func Fold[T, S any](r *Ring[T], state S, f func(S, T) S) S {
	for _, value := range r.values {
		state = f(state, value)
	}
	return state
}
