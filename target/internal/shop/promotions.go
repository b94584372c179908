package shop

import (
	"fmt"
	"regexp"

	"diagnose.example/target/internal/catalogue"
	"diagnose.example/target/internal/faults"
)

// PromotionRules take a euro off every item whose name a rule matches.
type PromotionRules struct {
	patterns []string
	compiled []*regexp.Regexp
	deploy   *faults.Switch
}

func newPromotionRules(board *faults.Board) *PromotionRules {
	p := &PromotionRules{deploy: board.Add(faults.Fault{Name: "deploy",
		Description: "the new build compiles every promotion rule again for every item: some 50 ms of CPU per order"})}
	for n := range 56 {
		pattern := fmt.Sprintf(`(?i)^(tea|coffee|honey|jam|olives) no\. (%d|%d|%d)$`, n, n*2, n+50)
		p.patterns = append(p.patterns, pattern)
		p.compiled = append(p.compiled, regexp.MustCompile(pattern))
	}
	return p
}

// Discount returns what the rules take off the items, in cents.
func (p *PromotionRules) Discount(items []catalogue.Item) int {
	cents := 0
	for _, item := range items {
		rules := p.compiled
		if p.deploy.Active() {
			rules = p.recompileForEveryItem()
		}
		for _, rule := range rules {
			if rule.MatchString(item.Name) {
				cents += 100
			}
		}
	}
	return cents
}

// recompileForEveryItem is the fault "deploy", what the build v2 brought.
//
//go:noinline
func (p *PromotionRules) recompileForEveryItem() []*regexp.Regexp {
	rules := make([]*regexp.Regexp, len(p.patterns))
	for i, pattern := range p.patterns {
		rules[i] = regexp.MustCompile(pattern)
	}
	return rules
}
