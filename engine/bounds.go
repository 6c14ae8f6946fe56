//go:build js && wasm

package main

import (
	"fmt"
	"runtime/metrics"
	"time"
)

// evalBounds is what one evaluation may take at most.
type evalBounds struct {
	Milliseconds int `json:"milliseconds"`
	// Bytes of memory beyond what the program has at the start of the evaluation.
	Bytes uint64 `json:"bytes"`
}

// pollsPerLook is how often the interpreter asks, once for each expression, between two looks at clock and memory.
const pollsPerLook = 256

// watched ends an evaluation that takes too much. The interpreter asks it itself: nothing else runs meanwhile.
type watched struct {
	deadline time.Time
	memory   uint64
	bounds   evalBounds
	polls    int
	reason   string
}

func watch(bounds evalBounds) *watched {
	return &watched{
		deadline: time.Now().Add(time.Duration(bounds.Milliseconds) * time.Millisecond),
		memory:   mappedBytes() + bounds.Bytes,
		bounds:   bounds,
	}
}

// Cancel ends the evaluation from outside, which nobody does; OPA's interface asks for it.
func (w *watched) Cancel() {
	w.reason = "the evaluation was ended"
}

// Cancelled tells the interpreter whether to stop.
func (w *watched) Cancelled() bool {
	w.polls++
	if w.reason == "" && w.polls%pollsPerLook == 0 {
		w.look()
	}
	return w.reason != ""
}

func (w *watched) look() {
	switch {
	case time.Now().After(w.deadline):
		w.reason = fmt.Sprintf("the evaluation took longer than %d ms", w.bounds.Milliseconds)
	case mappedBytes() > w.memory:
		w.reason = fmt.Sprintf("the evaluation took more than %d bytes of memory", w.bounds.Bytes)
	}
}

func mappedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
