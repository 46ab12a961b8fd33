// Generated inputs: pinned values, independence of threads and neighbours, and distributions.
#include "harness/fill.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <set>

#include "harness/error.h"

namespace lrnnx::bench {
namespace {

Problem problem_with(const std::string& options, const std::string& fill = "init") {
  return parse_problem("selective_scan.mamba.f32.backward.cpu batch=2 dim=64 seqlen=1000 dstate=16 options=" + options +
                       " fill=" + fill);
}

std::vector<float> values_of(const Problem& problem, const std::string& name) {
  for (const TensorSpec& tensor : tensors(problem)) {
    if (tensor.name == name) return generate(problem, tensor);
  }
  ADD_FAILURE() << "no tensor " << name;
  return {};
}

double softplus(double x) { return std::log1p(std::exp(x)); }

// Mean, variance and fourth moment over squared variance.
struct Moments {
  double mean = 0, variance = 0, kurtosis = 0;
};
Moments moments(const std::vector<float>& values) {
  const auto n = static_cast<double>(values.size());
  Moments m;
  for (const float x : values) m.mean += x / n;
  for (const float x : values) m.variance += std::pow(x - m.mean, 2) / n;
  for (const float x : values) m.kurtosis += std::pow(x - m.mean, 4) / n / (m.variance * m.variance);
  return m;
}

// If these change, every recorded failure line reproduces something else.
TEST(Fill, ValuesNeverChange) {
  const Problem problem = problem_with("B,C,delta_softplus,delta_bias");
  EXPECT_EQ(values_of(problem, "u")[0], 0x1.90a19ap-4f);
  EXPECT_EQ(values_of(problem, "u")[127999], -0x1.90cae6p-4f);
  EXPECT_EQ(values_of(problem, "A")[17], -0x1.05cb82p+1f);
  EXPECT_EQ(values_of(problem, "delta_bias")[63], -0x1.a93446p+1f);
  EXPECT_EQ(values_of(problem_with("B,C"), "delta")[5], 0x1.a320fap-7f);
}

TEST(Fill, IsTheSameForAnyNumberOfThreads) {
  const Problem problem = problem_with("B,C");
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto one = values_of(problem, "delta");
  omp_set_num_threads(7);
  const auto seven = values_of(problem, "delta");
  omp_set_num_threads(threads);
  EXPECT_EQ(one, seven);
}

TEST(Fill, BothDirectionsReadTheSameInputs) {
  Problem forward = problem_with("B,C,D,z");
  forward.direction = "forward";
  forward.options.save = true;
  for (const char* name : {"u", "delta", "A", "B", "C", "D", "z"}) {
    EXPECT_EQ(values_of(forward, name), values_of(problem_with("B,C,D,z"), name)) << name;
  }
}

TEST(Fill, TensorsAndSeedsDiffer) {
  Problem problem = problem_with("B,C,z");
  std::set<float> firsts;
  for (const char* name : {"u", "z", "dout", "B", "C"}) firsts.insert(values_of(problem, name)[0]);
  problem.seed = 1;
  for (const char* name : {"u", "z", "dout", "B", "C"}) firsts.insert(values_of(problem, name)[0]);
  EXPECT_EQ(firsts.size(), 10u);
}

TEST(Fill, NormalTensorsHaveTheMomentsOfANormal) {
  const Problem problem = problem_with("B,C,z");
  for (const char* name : {"u", "z", "dout"}) {
    const Moments m = moments(values_of(problem, name));  // 128,000 numbers: five standard errors
    EXPECT_NEAR(m.mean, 0, 5 / std::sqrt(128e3)) << name;
    EXPECT_NEAR(m.variance, 1, 5 * std::sqrt(2 / 128e3)) << name;
    EXPECT_NEAR(m.kurtosis, 3 - 0.03, 5 * std::sqrt(24 / 128e3)) << name;
  }
}

TEST(Fill, NeighboursAreIndependent) {
  const auto u = values_of(problem_with("B,C"), "u");
  for (const size_t lag : {size_t{1}, size_t{2}, size_t{1000}}) {
    double sum = 0;
    for (size_t i = lag; i < u.size(); ++i) sum += static_cast<double>(u[i]) * u[i - lag];
    EXPECT_LT(std::abs(sum) / std::sqrt(static_cast<double>(u.size())), 5) << lag;
  }
}

// dt of init is in [1e-3, 1e-1] on whichever path it comes; its logarithm is uniform.
void expect_init_step(const std::vector<double>& dt) {
  double mean = 0;
  for (const double step : dt) {
    EXPECT_GE(step, 0.999e-3);
    EXPECT_LE(step, 1.001e-1);
    mean += std::log10(step) / static_cast<double>(dt.size());
  }
  EXPECT_NEAR(mean, -2, 5 * (2 / std::sqrt(12.0)) / std::sqrt(static_cast<double>(dt.size())));
}

TEST(Fill, StepOfInitIsLogUniformOnEveryPath) {
  const auto plain = values_of(problem_with("B,C"), "delta");
  expect_init_step({plain.begin(), plain.end()});
  std::vector<double> steps;
  for (const float x : values_of(problem_with("B,C,delta_softplus"), "delta")) steps.push_back(softplus(x));
  expect_init_step(steps);
  steps.clear();
  for (const float x : values_of(problem_with("B,C,delta_softplus,delta_bias"), "delta_bias")) {
    steps.push_back(softplus(x));
  }
  expect_init_step(steps);
  const auto transition = values_of(problem_with("B,C,deltaA"), "deltaA");
  expect_init_step({transition.begin(), transition.end()});
}

TEST(Fill, TransitionOfInitIsThatOfModels) {
  const auto A = values_of(problem_with("B,C"), "A");
  for (size_t i = 0; i < A.size(); ++i) EXPECT_NEAR(-A[i] / static_cast<float>(i % 16 + 1), 1, 0.1001);
  EXPECT_NE(A[0], A[16]);  // channels differ
}

TEST(Fill, DecayIsWhatTheNameSays) {
  const auto slowest_decay = [](const std::string& fill) {
    const Problem problem = problem_with("B,C", fill);
    const auto A = values_of(problem, "A");
    const auto dt = values_of(problem, "delta");
    double low = 1, high = 0;
    for (size_t i = 0; i < dt.size(); ++i) {
      const double decay = std::exp(static_cast<double>(dt[i]) * A[i / 1000 % 64 * 16]);
      low = std::min(low, decay);
      high = std::max(high, decay);
    }
    return std::pair(low, high);
  };
  EXPECT_GT(slowest_decay("slow").first, 0.998);
  EXPECT_GT(slowest_decay("benign").first, 0.3);
  EXPECT_LT(slowest_decay("benign").second, 0.96);
  EXPECT_LT(slowest_decay("stiff").first, 1e-38);
  EXPECT_GT(slowest_decay("stiff").second, 0.9);
}

TEST(Fill, UnknownNameIsRefusedWithTheKnownOnes) {
  try {
    find_fill("noise");
    FAIL();
  } catch (const UsageError& error) {
    for (const Fill& fill : fills()) EXPECT_NE(std::string(error.what()).find(fill.name), std::string::npos);
  }
}

TEST(Fill, EveryFillGivesFiniteInputs) {
  for (const Fill& fill : fills()) {
    for (const char* options : {"B,C,delta_softplus", "B,C,deltaA,delta_bias", "B,C,delta_bias,delta_softplus,h0"}) {
      const Problem problem = problem_with(options, fill.name);
      for (const TensorSpec& tensor : tensors(problem)) {
        if (tensor.role != Role::input) continue;
        for (const float x : generate(problem, tensor)) {
          ASSERT_TRUE(std::isfinite(x)) << fill.name << ' ' << tensor.name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace lrnnx::bench
