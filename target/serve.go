package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"diagnose.example/target/internal/admin"
	"diagnose.example/target/internal/faults"
	"diagnose.example/target/internal/shop"
	"diagnose.example/target/internal/telemetry"
)

const (
	drainTimeout = time.Second     // for requests under way at the end
	flushTimeout = 2 * time.Second // for the last telemetry
)

type serveOptions struct {
	service, instance, listen, admin, otlp, version string
	checkout, pricing, inventory                    string
	orphanLeaks                                     bool
	cpus                                            int
	degradeAfter                                    time.Duration
}

func parseServe(args []string, stderr io.Writer) (serveOptions, error) {
	var o serveOptions
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&o.service, "service", "", "gateway, checkout, pricing or inventory; becomes service.name")
	flags.StringVar(&o.instance, "instance", "", "name of this instance, becomes service.instance.id")
	flags.StringVar(&o.listen, "listen", "", "host:port for traffic")
	flags.StringVar(&o.admin, "admin", "", "host:port for /debug/pprof/, /metrics, /healthz and /faults")
	flags.StringVar(&o.otlp, "otlp", "", "URL of an OTLP/HTTP receiver, without a path")
	flags.StringVar(&o.version, "version", version, "becomes service.version")
	flags.StringVar(&o.checkout, "checkout", "", "gateway: URLs of the checkout instances, separated by commas")
	flags.StringVar(&o.pricing, "pricing", "", "checkout: URL of pricing")
	flags.StringVar(&o.inventory, "inventory", "", "checkout: URL of inventory")
	flags.IntVar(&o.cpus, "cpus", 1, "processors to use, as in a container of that size: the faults then do the same on any machine")
	flags.BoolVar(&o.orphanLeaks, "orphan-leaks", false,
		"checkout: make the leak fault visible to the goroutineleak profile; the goroutines then stay until the process ends")
	flags.DurationVar(&o.degradeAfter, "degrade-after", 0, "checkout: switch the deploy fault on this long after the start, for an hour")
	if err := parse(flags, args, stderr); err != nil {
		return o, err
	}
	return o, o.check()
}

// check reports every mistake at once.
func (o *serveOptions) check() error {
	var wrong []string
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	need := func(flag, value string) bool {
		if value == "" {
			complain("%s is missing", flag)
		}
		return value != ""
	}
	needURL := func(flag string, value *string) {
		if !need(flag, *value) {
			return
		}
		u, err := url.Parse(*value)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			complain("%s %q is not an http(s) URL", flag, *value)
		}
		*value = strings.TrimSuffix(*value, "/")
	}
	if o.cpus < 1 {
		complain("--cpus must be at least 1")
	}
	need("--service", o.service)
	need("--instance", o.instance)
	need("--listen", o.listen)
	need("--admin", o.admin)
	needURL("--otlp", &o.otlp)
	switch o.service {
	case shop.Gateway:
		for _, checkout := range strings.Split(o.checkout, ",") {
			needURL("--checkout", &checkout)
		}
	case shop.Checkout:
		needURL("--pricing", &o.pricing)
		needURL("--inventory", &o.inventory)
	}
	if o.degradeAfter != 0 && o.service != shop.Checkout {
		complain("--degrade-after is for --service %s only", shop.Checkout)
	}
	if len(wrong) > 0 {
		return usageError("serve: " + strings.Join(wrong, "; "))
	}
	return nil
}

// serve runs one service until ctx ends.
func serve(ctx context.Context, args []string, stderr io.Writer) error {
	o, err := parseServe(args, stderr)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(o.cpus)
	// Every contended lock and every wait above a millisecond: this is a sample, the evidence matters more than the last per cent.
	runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(int(time.Millisecond))

	traffic, err := listen("--listen", o.listen)
	if err != nil {
		return err
	}
	defer traffic.Close()
	control, err := listen("--admin", o.admin)
	if err != nil {
		return err
	}
	defer control.Close()

	flush, err := telemetry.Start(ctx, telemetry.Identity{Service: o.service, Instance: o.instance, Version: o.version}, o.otlp)
	if err != nil {
		return fmt.Errorf("--otlp %s: %w", o.otlp, err)
	}
	metrics, board := telemetry.NewMetrics(o.version), &faults.Board{}
	service, err := shop.New(o.service, shop.Config{
		CheckoutURLs: strings.Split(o.checkout, ","), PricingURL: o.pricing, InventoryURL: o.inventory,
		OrphanLeaks: o.orphanLeaks, Metrics: metrics, Faults: board,
	})
	if err != nil {
		return usageError("serve: --service: " + err.Error())
	}
	if o.degradeAfter > 0 {
		deploy, err := board.Find("deploy")
		if err != nil {
			return err
		}
		deploy.OnAfter(o.degradeAfter, faults.MaxDuration)
	}

	slog.Info("serving", "service", o.service, "instance", o.instance, "version", o.version, "listen", o.listen, "admin", o.admin)
	err = serveUntil(ctx, map[net.Listener]http.Handler{traffic: service, control: admin.Handler(metrics, board)})
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := flush(ending); err != nil {
		slog.Warn("last telemetry not delivered", "error", err)
	}
	slog.Info("stopped", "service", o.service, "instance", o.instance)
	return err
}

func listen(flag, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("%s %s: %w", flag, address, err)
	}
	return l, nil
}

// serveUntil serves all listeners until ctx ends or one of them fails, then lets the requests under way finish.
func serveUntil(ctx context.Context, handlers map[net.Listener]http.Handler) error {
	failed := make(chan error, len(handlers))
	servers := make([]*http.Server, 0, len(handlers))
	for listener, handler := range handlers {
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
		servers = append(servers, server)
		go func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	for _, server := range servers {
		if server.Shutdown(ending) != nil {
			server.Close() // a CPU profile of half a minute is not waited for
		}
	}
	return err
}
