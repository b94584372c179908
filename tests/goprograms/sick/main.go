// Command sick serves /debug/pprof/ of a process with a hot loop, a contended lock, retained memory and requests that
// wait, all under pprof labels. It prints its base URL and ends with its standard input. `sick profiled` profiles itself
// all the time, so that nobody else can; `sick crowd` has 5,000 goroutines and does the same all the time, `sick saturated`
// burns all processors.
// /answers counts what /debug/pprof/ answered, by path and status.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
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
	mode := strings.Join(os.Args[1:], "")
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
			if len(kept) < 100 && mode != "crowd" {
				retain()
				runtime.GC()
			}
		}
	}()

	switch mode {
	case "":
	case "profiled":
		if err := pprof.StartCPUProfile(io.Discard); err != nil {
			log.Fatal(err)
		}
	case "crowd":
		for range 5000 {
			go waitForever(make(chan struct{}))
		}
	case "saturated":
		for range 4 * runtime.GOMAXPROCS(0) {
			go func() {
				for {
					burnCPU()
				}
			}()
		}
	default:
		log.Fatalf("unknown mode %q", mode)
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
	http.HandleFunc("/answers", answers)
	log.Fatal(http.Serve(listener, http.HandlerFunc(counted)))
}

var (
	counting sync.Mutex
	counts   = map[string]int{}
)

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// counted serves a request and counts its path and status.
func counted(w http.ResponseWriter, r *http.Request) {
	recorded := &recorder{w, http.StatusOK}
	http.DefaultServeMux.ServeHTTP(recorded, r)
	counting.Lock()
	defer counting.Unlock()
	counts[fmt.Sprintf("%s %d", r.URL.Path, recorded.status)]++
}

func answers(w http.ResponseWriter, _ *http.Request) {
	counting.Lock()
	defer counting.Unlock()
	json.NewEncoder(w).Encode(counts)
}
