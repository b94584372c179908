package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args string
		exit int
		says []string
	}{
		{"", 2, []string{"usage: target serve", "target load"}},
		{"version", 0, []string{"target v1 go1."}},
		{"reload", 2, []string{"usage:"}},
		{"serve --help", 0, []string{"-degrade-after", "-orphan-leaks", "-cpus"}},
		{"serve --colour red", 2, []string{"not defined: -colour"}},
		{"serve now", 2, []string{`unexpected argument "now"`}},
		{"serve", 2, []string{"--service is missing", "--instance is missing", "--listen is missing", "--admin is missing", "--otlp is missing"}},
		{"serve --service gateway --otlp otelcol:4318 --checkout http://a:1,b --degrade-after 1s --cpus 0", 2,
			[]string{`--otlp "otelcol:4318" is not an http(s) URL`, `--checkout "b"`, "--degrade-after is for --service checkout", "--cpus"}},
		{"serve --service checkout", 2, []string{"--pricing is missing", "--inventory is missing"}},
		{"load", 2, []string{`--url "" is not a URL`}},
		{"load --url http://127.0.0.1:1/checkout --rps 0", 2, []string{"must be positive"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out bytes.Buffer
			exit := exitCode(run(t.Context(), strings.Fields(c.args), &out, &out), &out)
			if exit != c.exit {
				t.Errorf("exit code %d, want %d", exit, c.exit)
			}
			for _, want := range c.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q lacks %q", out.String(), want)
				}
			}
		})
	}
}

// freePort is an address nobody listens on. It lies below the ports the kernel gives to outgoing connections and to port 0, so that
// the tests of another package cannot take it before it is bound.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port from 20000 to 32000")
	return ""
}

func TestPortInUseNamesTheFlag(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	err = run(t.Context(), []string{"serve", "--service", "pricing", "--instance", "pricing-1",
		"--listen", freePort(t), "--admin", address, "--otlp", "http://127.0.0.1:1"}, &bytes.Buffer{}, &bytes.Buffer{})

	if err == nil || !strings.HasPrefix(err.Error(), "--admin "+address+": ") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
}

func TestServeAnswersOnBothListenersUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	traffic, admin := freePort(t), freePort(t)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--service", "inventory", "--instance", "inventory-1",
			"--listen", traffic, "--admin", admin, "--otlp", "http://127.0.0.1:1"}, &bytes.Buffer{}, &bytes.Buffer{})
	}()
	get := func(url string) int {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			resp, err := http.Get(url)
			if err == nil {
				resp.Body.Close()
				return resp.StatusCode
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	for path, want := range map[string]int{
		"/healthz": 200, "/metrics": 200, "/faults": 200, "/debug/pprof/": 200, "/debug/pprof/goroutine": 200,
		"/debug/pprof/heap": 200, "/debug/pprof/mutex": 200, "/debug/pprof/block": 200, "/checkout": 404,
	} {
		if got := get("http://" + admin + path); got != want {
			t.Errorf("admin %s: %d, want %d", path, got, want)
		}
	}
	if got := get("http://" + traffic + "/debug/pprof/"); got != 404 {
		t.Errorf("profiles on the listener of the traffic: %d", got)
	}
	if got := get("http://" + traffic + "/reserve?sku=sku-01"); got != 405 {
		t.Errorf("GET /reserve: %d", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeEndsWhenAListenerFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := serveUntil(t.Context(), map[net.Listener]http.Handler{l: http.NotFoundHandler()}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestUsageErrorsAreToldApart(t *testing.T) {
	if got := exitCode(fmt.Errorf("wrapped: %w", usageError("no")), &bytes.Buffer{}); got != 2 {
		t.Errorf("usage error: exit %d", got)
	}
	if got := exitCode(errors.New("broken"), &bytes.Buffer{}); got != 1 {
		t.Errorf("failure: exit %d", got)
	}
}
