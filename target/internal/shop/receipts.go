package shop

import (
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
	last := draft(o)
	if p.gc.Active() {
		last = renderEveryDraft(o)
	}
	var lines []string
	for ; last != nil; last = last.before {
		lines = append(lines, last.text)
	}
	return strings.Join(lines, "\n")
}

func draft(o *order) *receiptLine {
	var last *receiptLine
	for _, item := range o.Items {
		last = &receiptLine{item.Name + " x " + strconv.Itoa(item.Quantity) + " at " + strconv.Itoa(item.Cents), last}
	}
	return last
}

// renderEveryDraft is the fault "gc": many small objects that point to each other, live for one request and then die, are the most work
// for the collector.
//
//go:noinline
func renderEveryDraft(o *order) *receiptLine {
	versions := make([]*receiptLine, drafts)
	final := draft(o)
	for n := range versions {
		for line := final; line != nil; line = line.before {
			versions[n] = &receiptLine{line.text, versions[n]}
		}
	}
	return versions[drafts-1]
}
