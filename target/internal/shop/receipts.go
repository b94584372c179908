package shop

import (
	"slices"
	"strconv"
	"strings"

	"diagnose.example/target/internal/faults"
)

const drafts = 16_000

// ReceiptPrinter renders orders as text.
type ReceiptPrinter struct {
	gc *faults.Switch
}

func newReceiptPrinter(board *faults.Board) *ReceiptPrinter {
	return &ReceiptPrinter{gc: board.Add(faults.Fault{Name: "gc",
		Description: "every receipt is drafted 16,000 times in small pieces that are thrown away when it is printed"})}
}

// receiptLine is a line of a receipt that points to the one before it.
type receiptLine struct {
	text   string
	before *receiptLine
}

// Print returns the receipt of an order.
func (p *ReceiptPrinter) Print(o *order) string {
	texts := make([]string, len(o.Items))
	for i, item := range o.Items {
		texts[i] = item.Name + " x " + strconv.Itoa(item.Quantity) + " at " + strconv.Itoa(item.Cents)
	}
	last := draft(texts)
	if p.gc.Active() {
		last = renderEveryDraft(texts)
	}
	lines := make([]string, 0, len(texts))
	for ; last != nil; last = last.before {
		lines = append(lines, last.text)
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}

// draft returns the last line.
func draft(texts []string) *receiptLine {
	var last *receiptLine
	for _, text := range texts {
		last = &receiptLine{text, last}
	}
	return last
}

// renderEveryDraft is the fault "gc": many small objects that point to each other, live for one request and then die, are the most work
// for the collector. It does not call draft, so that the allocations are its own.
//
//go:noinline
func renderEveryDraft(texts []string) *receiptLine {
	versions := make([]*receiptLine, drafts)
	for n := range versions {
		for _, text := range texts {
			versions[n] = &receiptLine{text, versions[n]}
		}
	}
	return versions[drafts-1]
}
