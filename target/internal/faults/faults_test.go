package faults

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFaultEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Board).Add(Fault{Name: "cpu"})
		s.On(time.Minute)

		time.Sleep(time.Minute - time.Nanosecond)
		if !s.Active() {
			t.Error("off before its time")
		}
		time.Sleep(time.Nanosecond)
		if s.Active() {
			t.Error("on after its time")
		}
	})
}

func TestArmedFaultComesOnLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Board).Add(Fault{Name: "deploy"})
		s.OnAfter(20*time.Second, time.Minute)

		if s.Active() {
			t.Error("on at once")
		}
		time.Sleep(20 * time.Second)
		if !s.Active() {
			t.Error("off when its time has come")
		}
		time.Sleep(time.Minute)
		if s.Active() {
			t.Error("on after its time")
		}
	})
}

func TestFaultSwitchedOnAgainLastsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Board).Add(Fault{Name: "cpu"})
		s.On(time.Minute)
		time.Sleep(50 * time.Second)
		s.On(time.Minute)
		time.Sleep(50 * time.Second)

		if !s.Active() {
			t.Error("the second duration does not count from the second call")
		}
	})
}

func TestClearReleasesWhatFaultsKeptAfterAllAreOff(t *testing.T) {
	var board Board
	other := board.Add(Fault{Name: "cpu"})
	var heap *Switch
	released := 0
	heap = board.Add(Fault{Name: "heap", Release: func() {
		released++
		if other.Active() || heap.Active() {
			t.Error("released while a fault could still keep more")
		}
	}})
	heap.On(time.Minute)
	other.On(time.Minute)

	heap.Off()
	if released != 0 {
		t.Error("switching off alone must leave the state to be looked at")
	}
	board.Clear()
	if released != 1 {
		t.Errorf("released %d times, want once", released)
	}
}

func TestHandler(t *testing.T) {
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", "/faults", 200, `"name":"cpu"`},
		{"PUT", "/faults/cpu?duration=60s", 200, `"active":true`},
		{"DELETE", "/faults/cpu", 200, `"active":false`},
		{"DELETE", "/faults", 200, `"active":false`},
		{"PUT", "/faults/cpu", 400, "for example duration=60s"},
		{"PUT", "/faults/cpu?duration=10ms", 400, "from 1s to 1h0m0s"},
		{"PUT", "/faults/cpu?duration=2h", 400, "from 1s to 1h0m0s"},
		{"PUT", "/faults/cpu?duration=soon", 400, "want a Go duration"},
		{"PUT", "/faults/flood?duration=60s", 404, `no fault \"flood\" in this service, it has [\"cpu\" \"heap\"]`},
		{"POST", "/faults/cpu", 405, ""},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			var board Board
			board.Add(Fault{Name: "heap"})
			board.Add(Fault{Name: "cpu"})
			answer := httptest.NewRecorder()
			board.Handler().ServeHTTP(answer, httptest.NewRequest(c.method, c.path, nil))

			if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.says) {
				t.Errorf("got %d %s, want %d %s", answer.Code, answer.Body, c.status, c.says)
			}
		})
	}
}

func TestStatusTellsUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var board Board
		board.Add(Fault{Name: "cpu", Description: "busy"})
		answer := httptest.NewRecorder()
		board.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPut, "/faults/cpu?duration=90s", nil))

		var status Status
		if err := json.Unmarshal(answer.Body.Bytes(), &status); err != nil {
			t.Fatal(err)
		}
		if status.Until == nil || !status.Until.Equal(time.Now().Add(90*time.Second)) || status.Description != "busy" {
			t.Errorf("got %+v", status)
		}
	})
}
