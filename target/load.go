package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/url"
	"time"

	"diagnose.example/target/internal/load"
)

// generateLoad sends orders until the duration is over or ctx ends, then prints one line.
func generateLoad(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o load.Options
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	address := flags.String("url", "", "where to POST orders, for example http://127.0.0.1:8080/checkout")
	flags.Float64Var(&o.RPS, "rps", 20, "requests per second, on average")
	flags.Uint64Var(&o.Seed, "seed", 1, "seed of the arrival times and of the skus")
	flags.DurationVar(&o.Duration, "duration", 10*time.Minute, "how long")
	// Above it only in an overload. There the queue would grow without end and bury what the fault itself does.
	flags.IntVar(&o.Limit, "concurrency-limit", 24, "requests under way at most; arrivals above it are counted as skipped")
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	var err error
	if o.URL, err = url.Parse(*address); err != nil || o.URL.Host == "" {
		return usageError(fmt.Sprintf("load: --url %q is not a URL", *address))
	}
	if o.RPS <= 0 || o.Duration <= 0 || o.Limit <= 0 {
		return usageError("load: --rps, --duration and --concurrency-limit must be positive")
	}
	fmt.Fprintln(stdout, load.Run(ctx, o))
	return nil
}
