package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

type errorReply struct {
	Error  string   `json:"error"`
	Faults []Status `json:"faults"`
}

// Handler serves the board:
//
//	GET    /faults                      the faults of this service
//	PUT    /faults/{name}?duration=60s  switch one on (or prolong it)
//	DELETE /faults/{name}               switch one off
//	DELETE /faults                      switch all off and release what they kept
func (b *Board) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, b.List()) })
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		b.Clear()
		reply(w, http.StatusOK, b.List())
	})
	mux.HandleFunc("PUT /faults/{name}", b.withSwitch(func(s *Switch, r *http.Request) error {
		d, err := parseDuration(r.FormValue("duration"))
		if err == nil {
			s.On(d)
		}
		return err
	}))
	mux.HandleFunc("DELETE /faults/{name}", b.withSwitch(func(s *Switch, _ *http.Request) error {
		s.Off()
		return nil
	}))
	return mux
}

func (b *Board) withSwitch(change func(*Switch, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := b.Find(r.PathValue("name"))
		if err != nil {
			reply(w, http.StatusNotFound, errorReply{err.Error(), b.List()})
			return
		}
		if err := change(s, r); err != nil {
			reply(w, http.StatusBadRequest, errorReply{err.Error(), b.List()})
			return
		}
		reply(w, http.StatusOK, s.status())
	}
}

func parseDuration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < MinDuration || d > MaxDuration {
		return 0, fmt.Errorf("duration=%q: want a Go duration from %s to %s, for example duration=60s", value, MinDuration, MaxDuration)
	}
	return d, nil
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
