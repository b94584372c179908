// Command mixture does the same work all the time: requests at a steady rate, each of which calls f00 … f23, the first
// for longest. It prints its base URL of pprof and ends with its standard input.
//
//	mixture RATE GROWN EXTRA
//
// RATE is requests per second; GROWN how many times as much work f05 does (1 is none more), EXTRA the work of a function
// that is not called otherwise, in the unit of f00 (0 is none).
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
)

const unit = 160000 // iterations that f00 does per request

var (
	sink  uint64
	kept  [64][]byte
	cache sync.Mutex
)

func spin(iterations int) {
	x := sink | 1
	for range iterations {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	sink = x
}

//go:noinline
func f00() { spin(unit) }

//go:noinline
func f01() { spin(unit / 2) }

//go:noinline
func f02() { spin(unit / 3) }

//go:noinline
func f03() { spin(unit / 4) }

//go:noinline
func f04() { spin(unit / 5) }

//go:noinline
func f05(grown float64) { spin(int(unit / 6 * grown)) }

//go:noinline
func f06() { spin(unit / 7) }

//go:noinline
func f07() { spin(unit / 8) }

//go:noinline
func f08() { spin(unit / 9) }

//go:noinline
func f09() { spin(unit / 10) }

//go:noinline
func f10() { spin(unit / 12) }

//go:noinline
func f11() { spin(unit / 14) }

//go:noinline
func f12() { spin(unit / 16) }

//go:noinline
func f13() { spin(unit / 20) }

//go:noinline
func f14() { spin(unit / 24) }

//go:noinline
func f15() { spin(unit / 30) }

// The rest is what programs do beside computing: allocate, sort, copy, format, lock.

//go:noinline
func f16() { kept[sink%64] = bytes.Repeat([]byte("x"), 16<<10) }

//go:noinline
func f17() {
	values := make([]int, 400)
	for i := range values {
		values[i] = int(sink>>(i%32)) % 1000
	}
	sort.Ints(values)
}

//go:noinline
func f18() { sink += uint64(len(fmt.Sprintf("%d %v %s", sink, time.Now(), "text"))) }

//go:noinline
func f19() {
	cache.Lock()
	defer cache.Unlock()
	spin(unit / 40)
}

//go:noinline
func f20() { sink += uint64(bytes.Count(kept[sink%64], []byte("xx"))) }

//go:noinline
func f21() {
	index := map[int]int{}
	for i := range 200 {
		index[i] = i
	}
	sink += uint64(len(index))
}

//go:noinline
func f22() { f15(); f14() }

//go:noinline
func f23() { f22() }

//go:noinline
func added(extra float64) { spin(int(unit * extra)) }

func serve(grown, extra float64) {
	f00()
	f01()
	f02()
	f03()
	f04()
	f05(grown)
	f06()
	f07()
	f08()
	f09()
	f10()
	f11()
	f12()
	f13()
	f14()
	f15()
	f16()
	f17()
	f18()
	f19()
	f20()
	f21()
	f22()
	f23()
	if extra > 0 {
		added(extra)
	}
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: mixture RATE GROWN EXTRA")
	}
	rate, grown, extra := number(os.Args[1]), number(os.Args[2]), number(os.Args[3])
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for range time.Tick(time.Duration(float64(time.Second) / rate)) {
			serve(grown, extra)
		}
	}()
	fmt.Printf("http://%s/debug/pprof\n", listener.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(listener, nil))
}

func number(text string) float64 {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		log.Fatal(err)
	}
	return value
}
