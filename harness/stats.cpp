// Order statistics of timing samples.
#include "harness/stats.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <stdexcept>

namespace lrnnx::bench {

double quantile(std::span<const double> sorted, double p) {
  if (sorted.empty()) throw std::invalid_argument("quantile of no samples");
  if (!(p >= 0 && p <= 1)) throw std::invalid_argument("quantile: p must lie in [0, 1]");
  const double position = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

Interval median_interval(std::span<const double> sorted, double level) {
  if (sorted.empty()) throw std::invalid_argument("confidence interval of no samples");
  const std::size_t n = sorted.size();
  // The number of samples below the true median is binomial(n, 1/2), so [x_(k+1), x_(n-k)] misses it with probability
  // 2 P(X <= k). (David and Nagaraja, Order Statistics, 7.1.)
  const auto probability = [n](std::size_t k) {
    return std::exp(std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0) -
                    static_cast<double>(n) * std::numbers::ln2);
  };
  std::size_t k = 0;
  double below = probability(0);
  while (2 * (k + 2) <= n) {  // one step further keeps the pair in order
    const double next = below + probability(k + 1);
    if (1 - 2 * next < level) break;
    below = next;
    ++k;
  }
  return {.low = sorted[k], .high = sorted[n - 1 - k], .coverage = std::max(0.0, 1 - 2 * below)};
}

Interval batched_median_interval(std::span<const double> in_order, double level) {
  constexpr std::size_t kBatches = 12;
  const std::size_t batches = std::min(in_order.size(), kBatches);
  std::vector<double> medians;
  for (std::size_t batch = 0; batch < batches; ++batch) {
    const std::size_t begin = batch * in_order.size() / batches, end = (batch + 1) * in_order.size() / batches;
    std::vector<double> sorted(in_order.begin() + begin, in_order.begin() + end);
    std::ranges::sort(sorted);
    medians.push_back(quantile(sorted, 0.5));
  }
  std::ranges::sort(medians);
  return median_interval(medians, level);
}

Summary summarize(std::span<const double> samples) {
  if (samples.empty()) throw std::invalid_argument("summary of no samples");
  if (!std::ranges::all_of(samples, [](double x) { return std::isfinite(x); }))
    throw std::invalid_argument("summary of samples that are not all finite");
  std::vector<double> sorted(samples.begin(), samples.end());
  std::ranges::sort(sorted);

  const auto count = static_cast<double>(sorted.size());
  const double mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / count;
  double squares = 0;
  for (const double x : sorted) squares += (x - mean) * (x - mean);
  const double deviation = sorted.size() > 1 ? std::sqrt(squares / (count - 1)) : 0;
  return {.count = sorted.size(),
          .min = sorted.front(),
          .q1 = quantile(sorted, 0.25),
          .median = quantile(sorted, 0.5),
          .q3 = quantile(sorted, 0.75),
          .max = sorted.back(),
          .mean = mean,
          .relative_deviation = mean > 0 ? deviation / mean : 0,
          .median_interval = median_interval(sorted, 0.95)};
}

}  // namespace lrnnx::bench
