package tracker_test

import (
	"fmt"
	"testing"
)

// BenchmarkVisible measures from a request at one tracker until a client at the
// other one is told of the change.
func BenchmarkVisible(b *testing.B) {
	took := measureVisible(b, max(b.N, 200))
	b.ReportMetric(percentile(took, 50).Seconds()*1e3, "p50-ms")
	b.ReportMetric(percentile(took, 99).Seconds()*1e3, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkWrites measures changes that are answered once they are on the disks
// of two trackers.
func BenchmarkWrites(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			perSecond, alone := measureWrites(b, writers, max(b.N, 500*writers))
			b.ReportMetric(perSecond, "changes/s")
			b.ReportMetric(float64(alone), "unconfirmed")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkCatchUp measures a new tracker beside one with many facts.
func BenchmarkCatchUp(b *testing.B) {
	for _, facts := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("facts=%d", facts), func(b *testing.B) {
			for b.Loop() {
				c := measureCatchUp(b, facts)
				b.ReportMetric(c.ready.Seconds(), "s-to-ready")
				b.ReportMetric(c.manifests.Seconds(), "s-to-manifests")
				b.ReportMetric(float64(c.disk)/1e6, "MB-disk")
				b.ReportMetric(float64(c.young)/(1<<20), "MiB-new")
				b.ReportMetric(float64(c.old)/(1<<20), "MiB-old")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkGrowth measures what 20,000 updates of 100 facts leave on disk.
func BenchmarkGrowth(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(measureGrowth(b, 20_000))/1e6, "MB-grown")
	}
	b.ReportMetric(0, "ns/op")
}
