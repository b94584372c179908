// Command target is a small shop to be diagnosed: four services with telemetry, labelled profiles and faults that can be switched on,
// and the load that drives them. FAULTS.md says what goes wrong with each fault and what a diagnosis should say.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// version of this build; another one is built with -ldflags "-X main.version=v2".
var version = "v1"

const usage = `usage: target serve --service gateway|checkout|pricing|inventory --instance ID --listen HOST:PORT --admin HOST:PORT --otlp URL …
       target load --url URL …
       target version

target serve --help and target load --help list all flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(exitCode(err, os.Stderr))
}

// run carries out one command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return usageError(usage)
	}
	switch args[0] {
	case "serve":
		return serve(ctx, args[1:], stderr)
	case "load":
		return generateLoad(ctx, args[1:], stdout, stderr)
	case "version":
		fmt.Fprintf(stdout, "target %s %s\n", version, runtime.Version())
		return nil
	default:
		return usageError(usage)
	}
}

// usageError is a mistake in the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

// exitCode reports an error and returns the process's exit code: 2 for a wrong command line, 1 for anything else that failed.
func exitCode(err error, stderr io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintf(stderr, "target: %v\n", err)
	if u := usageError(""); errors.As(err, &u) {
		return 2
	}
	return 1
}

// parse reads flags; arguments beside them are a mistake.
func parse(flags *flag.FlagSet, args []string, stderr io.Writer) error {
	flags.SetOutput(stderr)
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usageError(err.Error())
	}
	if flags.NArg() > 0 {
		return usageError(fmt.Sprintf("%s: unexpected argument %q", flags.Name(), flags.Arg(0)))
	}
	return nil
}
