// Command sick serves /debug/pprof/ of a process with a hot loop, a contended lock, retained memory and requests that
// wait, all under pprof labels. It prints its base URL and ends with its standard input. `sick profiled` profiles itself
// all the time, so that nobody else can.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"
)

var (
	sink float64
	kept [][]byte
	lock sync.Mutex
)

//go:noinline
func burnCPU() {
	for end := time.Now().Add(5 * time.Millisecond); time.Now().Before(end); {
		for i := range 10000 {
			sink += float64(i)
		}
	}
}

//go:noinline
func waitForever(never chan struct{}) { <-never }

//go:noinline
func holdLock() {
	lock.Lock()
	time.Sleep(2 * time.Millisecond)
	lock.Unlock()
}

//go:noinline
func retain() { kept = append(kept, make([]byte, 256<<10)) }

func main() {
	runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(1)
	labelled := func(trace string, work func()) {
		labels := pprof.Labels("trace_id", trace, "span_id", trace[:16])
		go pprof.Do(context.Background(), labels, func(context.Context) { work() })
	}
	labelled("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", func() {
		for {
			burnCPU()
		}
	})
	labelled("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", func() { waitForever(make(chan struct{})) })
	for range 3 {
		go func() {
			for {
				holdLock()
			}
		}()
	}
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			if len(kept) < 100 {
				retain()
				runtime.GC()
			}
		}
	}()

	if len(os.Args) > 1 {
		if err := pprof.StartCPUProfile(io.Discard); err != nil {
			log.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s/debug/pprof\n", listener.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(listener, nil))
}
