// Order statistics of timing samples: the median with a confidence interval that assumes no distribution.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lrnnx::bench {

struct Interval {
  double low = 0, high = 0;
  double coverage = 0;  // probability that the interval holds the true median; below the level asked for few samples
};

struct Summary {
  std::size_t count = 0;
  double min = 0, q1 = 0, median = 0, q3 = 0, max = 0;
  double mean = 0;
  double relative_deviation = 0;  // sample standard deviation / mean
  Interval median_interval;       // at 95 %

  // Interquartile range / median: unlike the deviation, one outlier does not move it.
  double relative_spread() const { return median > 0 ? (q3 - q1) / median : 0; }
};

// Linear interpolation between order statistics (R's type 7). `sorted` ascending and not empty, 0 <= p <= 1.
double quantile(std::span<const double> sorted, double p);

// The narrowest symmetric pair of order statistics [x_(k), x_(n+1-k)] that covers the median with probability at least
// `level` for any continuous distribution; the whole range if even that covers it with less.
Interval median_interval(std::span<const double> sorted, double level);

// The same for samples in the order in which they were taken, whose neighbours may be alike (clocks, other tenants of
// the machine): the interval of the medians of 12 batches of neighbours, which are alike only if that lasts longer than
// a batch. Where the n samples are independent and the level is 99 % it reaches about 4.8 s / sqrt(n) to
// each side (s the deviation).
Interval batched_median_interval(std::span<const double> in_order, double level);

// Throws std::invalid_argument if there is no sample or one is not finite.
Summary summarize(std::span<const double> samples);

}  // namespace lrnnx::bench
