package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const callTimeout = 5 * time.Second

// failure is an error with the status code to answer it with.
type failure struct {
	status int
	reason string
}

func (f *failure) Error() string { return f.reason }

// endpoint is a handler that may fail: a failure is answered with its own status, an error of a callee with 502.
type endpoint func(w http.ResponseWriter, r *http.Request) error

func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := e(w, r)
	if err == nil {
		return
	}
	status := http.StatusBadGateway
	if f := (*failure)(nil); errors.As(err, &f) {
		status = f.status
	}
	trace.SpanFromContext(r.Context()).RecordError(err)
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// refusal is what a callee answered instead of 200.
type refusal struct {
	callee string
	status int
	reason string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s answered %d: %s", r.callee, r.status, r.reason)
}

// call makes one request to another service and decodes its JSON answer into reply.
func call(ctx context.Context, client *http.Client, callee, method, url string, reply any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", callee, err)
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusOK {
		var said struct{ Error string }
		// A body that is not ours leaves the reason empty; the status is what matters.
		_ = json.NewDecoder(resp.Body).Decode(&said)
		return &refusal{callee, resp.StatusCode, said.Error}
	}
	if err := json.NewDecoder(resp.Body).Decode(reply); err != nil {
		return fmt.Errorf("%s: answer is not the expected JSON: %w", callee, err)
	}
	return nil
}

// drain reads a body to its end, without which the connection is not used again.
func drain(body io.ReadCloser) {
	io.Copy(io.Discard, body)
	body.Close()
}
