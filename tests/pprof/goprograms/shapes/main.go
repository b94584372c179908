// Command shapes writes one profile of every kind, made of the shapes that are hard to count: inlined functions,
// generics, closures, methods, recursion, labels, deep stacks and goroutines that wait.
//
// Cumulative kinds are written twice, with work in between (NAME-later).
//
// Usage: shapes DIR
package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sort"
	"strings"
	"sync"
	"time"

	"example.com/shapes/ring"
)

var sink float64
var kept [][]byte

func small(x float64) float64 { return math.Sqrt(x) + 1 } // inlined
func twice(x float64) float64 { return small(small(x)) }  // inlined twice over

//go:noinline
func leafWork(n int) float64 {
	total := 0.0
	for i := 0; i < n; i++ {
		total += twice(float64(i))
	}
	return total
}

//go:noinline
func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

//go:noinline
func even(n int) float64 {
	if n == 0 {
		return leafWork(2000)
	}
	return odd(n - 1)
}

//go:noinline
func odd(n int) float64 {
	if n == 0 {
		return leafWork(1000)
	}
	return even(n - 1)
}

type number interface{ ~int | ~float64 }

//go:noinline
func sumOf[T number](values []T) T {
	var total T
	for _, value := range values {
		total += T(small(float64(value)))
	}
	return total
}

type worker struct{ scale float64 }

//go:noinline
func (w *worker) run(n int) float64 {
	step := func(i int) float64 { return w.scale * small(float64(i)) }
	total := 0.0
	for i := 0; i < n; i++ {
		total += step(i)
	}
	return total
}

func sortAndJoin() int {
	words := make([]string, 3000)
	for i := range words {
		words[i] = fmt.Sprint(i * 7919 % 3001)
	}
	sort.Slice(words, func(a, b int) bool { return words[a] < words[b] })
	return len(strings.Join(words, ","))
}

func burn(until time.Time) {
	w := &worker{scale: 2}
	numbers := make([]float64, 4000)
	r := ring.New[float64](512)
	for i := 0; time.Now().Before(until); i++ {
		route := fmt.Sprintf("/route/%d", i%3)
		labels := pprof.Labels("route", route, "trace_id", fmt.Sprintf("f%031x", i%7+1), "span_id", fmt.Sprintf("%016x", i%11+1))
		pprof.Do(context.Background(), labels, func(context.Context) {
			sink += leafWork(200000) + even(60) + odd(31) + sumOf(numbers) + w.run(100000)
			sink += float64(fib(22) + sortAndJoin())
			for n := range 100000 {
				r.Push(float64(n))
			}
			sink += ring.Fold(r, 0.0, func(state, value float64) float64 { return state + twice(value) })
		})
		go func() { _ = sumOf([]int{1, 2, 3}) }()
	}
}

//go:noinline
func allocate(depth int) []byte {
	if depth > 0 {
		return allocate(depth - 1)
	}
	return make([]byte, 64<<10)
}

func fillHeap() {
	for i := range 400 {
		b := allocate(i % 5)
		if i%2 == 0 {
			kept = append(kept, b)
		}
		m := map[int]string{}
		for n := range 200 {
			m[n] = strings.Repeat("x", n)
		}
	}
	runtime.GC()
}

func contend() {
	var mutex sync.Mutex
	var rw sync.RWMutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 30 {
				mutex.Lock()
				time.Sleep(200 * time.Microsecond)
				mutex.Unlock()
				rw.RLock()
				time.Sleep(50 * time.Microsecond)
				rw.RUnlock()
				rw.Lock()
				rw.Unlock()
			}
		})
	}
	all.Wait()
}

func waitEverywhere() {
	channel, full := make(chan int), make(chan int)
	var mutex sync.Mutex
	var group sync.WaitGroup
	group.Add(1)
	mutex.Lock()
	labels := pprof.Labels("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736", "otel_span", "none")
	pprof.Do(context.Background(), labels, func(context.Context) {
		for range 5 {
			go func() { <-channel }()
			go func() { full <- 1 }()
		}
	})
	go func() {
		select {
		case <-channel:
		case <-make(chan int):
		}
	}()
	go func() { mutex.Lock() }()
	go func() { group.Wait() }()
	go func() { time.Sleep(time.Hour) }()
	time.Sleep(50 * time.Millisecond)
}

func write(dir, name, fileName string) {
	file, err := os.Create(filepath.Join(dir, fileName+".pb.gz"))
	if err != nil {
		log.Fatal(err)
	}
	if err := pprof.Lookup(name).WriteTo(file, 0); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
}

// labelHeavy gives every piece of work labels of its own, as a service does with a trace per request.
func labelHeavy(until time.Time) {
	for i := 0; time.Now().Before(until); i++ {
		labels := pprof.Labels("trace_id", fmt.Sprintf("e%031x", i+1), "span_id", fmt.Sprintf("%016x", i+1),
			"route", fmt.Sprintf("/route/%d", i%5), "tenant", strings.Repeat("t", i%40+1), "empty", "")
		pprof.Do(context.Background(), labels, func(context.Context) { sink += leafWork(100000) + even(40) })
	}
}

func cpuProfile(dir, name string, work func()) {
	file, err := os.Create(filepath.Join(dir, name+".pb.gz"))
	if err != nil {
		log.Fatal(err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		log.Fatal(err)
	}
	work()
	pprof.StopCPUProfile()
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
}

func leak() {
	for range 3 {
		go func() { <-make(chan int) }()
	}
}

func main() {
	dir := os.Args[1]
	runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(1)
	runtime.MemProfileRate = 4096
	cpuProfile(dir, "cpu", func() { burn(time.Now().Add(1500 * time.Millisecond)) })
	cpuProfile(dir, "labels", func() { labelHeavy(time.Now().Add(700 * time.Millisecond)) })
	fillHeap()
	contend()
	waitEverywhere()
	leak()
	for _, name := range []string{"heap", "allocs", "goroutine", "goroutineleak", "mutex", "block", "threadcreate"} {
		write(dir, name, name)
	}
	fillHeap()
	contend()
	for _, name := range []string{"heap", "mutex", "block"} {
		write(dir, name, name+"-later")
	}
}
