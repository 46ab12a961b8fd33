// Generated inputs: pinned values, independence of threads and neighbours, and distributions.
#include "harness/fill.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <set>

#include "harness/error.h"

namespace lrnnx::bench::fill_test {
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

TEST(Fill, InItsStorageAndInPartsItIsTheSame) {
  for (const char* line : {"selective_scan.mamba.f32.forward.cpu", "selective_scan.mamba.bf16.forward.cpu",
                           "selective_scan.mamba.f16.forward.cpu", "selective_scan.mamba.c64.forward.cpu"}) {
    const Problem problem =
        parse_problem(line + std::string(" batch=2 dim=64 seqlen=300 dstate=3 fill=wide+denormal+nan"));
    for (const TensorSpec& tensor : tensors(problem)) {
      if (tensor.role != Role::input) continue;
      std::vector<unsigned char> bytes(static_cast<size_t>(tensor.bytes()));
      const WritePart generation = generation_of(problem, tensor);
      for (int64_t offset = 0; offset < tensor.bytes(); offset += 4096)
        generation(bytes.data() + offset, offset, std::min<int64_t>(4096, tensor.bytes() - offset));
      EXPECT_EQ(bytes, pack(tensor.storage, generate(problem, tensor))) << line << ' ' << tensor.name;
    }
  }
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

std::string refusal(const std::string& fill) {
  try {
    require_fill(fill);
  } catch (const UsageError& error) {
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << fill;
  return "";
}

TEST(Fill, UnknownNamesAreRefusedWithTheKnownOnes) {
  for (const Fill& fill : fill_bases()) {
    EXPECT_NE(refusal("noise").find(fill.name), std::string::npos) << fill.name;
    EXPECT_NO_THROW(require_fill(fill.name));
  }
  for (const Fill& fill : fill_modifiers()) {
    EXPECT_NE(refusal("init+noise").find(fill.name), std::string::npos) << fill.name;
    EXPECT_NO_THROW(require_fill(std::string("slow+") + fill.name));
  }
}

TEST(Fill, ContradictionsAreRefused) {
  EXPECT_NE(refusal("nan").find("expected init"), std::string::npos);
  EXPECT_NE(refusal("").find("expected init"), std::string::npos);
  EXPECT_NE(refusal("init+").find("modifier ''"), std::string::npos);
  EXPECT_NE(refusal("init+slow").find("modifier 'slow'"), std::string::npos);
  EXPECT_NE(refusal("init+nan+nan").find("given twice"), std::string::npos);
  EXPECT_NE(refusal("init+nan+inf").find("exclude"), std::string::npos);
  EXPECT_NE(refusal("exact+cancel").find("exact takes no modifiers"), std::string::npos);
}

// Every operation of the oracle, whether or not a kernel computes it yet.
std::vector<Problem> every_operation(const std::string& options, const std::string& fill) {
  std::vector<Problem> problems;
  for (const char* discretization : {"mamba", "zoh", "bilinear", "dirac", "s7", "rglru"}) {
    for (const char* dtype : {"f32", "c64"}) {
      Problem problem = problem_with(options, fill);
      problem.discretization = discretization;
      problem.dtype = dtype;
      const bool real_only = problem.discretization == "s7" || problem.discretization == "rglru";
      if (real_only && problem.dtype == "c64") continue;
      drop_untaken_options(problem);
      problems.push_back(problem);
    }
  }
  return problems;
}

TEST(Fill, EveryFillGivesFiniteInputsForEveryOperation) {
  std::vector<std::string> fills;
  for (const Fill& base : fill_bases()) {
    fills.push_back(base.name);
    for (const Fill& modifier : fill_modifiers()) {
      if (base.judgement != Judgement::exact && std::isfinite(modifier.plant))
        fills.push_back(std::string(base.name) + '+' + modifier.name);
    }
  }
  for (const std::string& fill : fills) {
    for (const char* options : {"B,C,delta_softplus,z", "B,C,deltaA,delta_bias", "B,C,delta_bias,delta_softplus,h0"}) {
      for (Problem problem : every_operation(options, fill)) {
        problem.shape = {.batch = 1, .dim = 8, .seqlen = 100, .dstate = 4, .groups = 1};
        if (fill_objection(problem)) continue;
        for (const TensorSpec& tensor : tensors(problem)) {
          if (tensor.role != Role::input) continue;
          for (const float x : generate(problem, tensor))
            ASSERT_TRUE(std::isfinite(x)) << to_string(problem) << ' ' << tensor.name;
        }
      }
    }
  }
}

TEST(Fill, TransitionsAreStableForEveryOperation) {
  for (const Fill& base : fill_bases()) {
    for (const Problem& problem : every_operation("B,C", base.name)) {
      const std::string name = to_string(problem);
      if (fill_objection(problem) || problem.discretization == "s7") continue;
      const auto A = values_of(problem, "A");
      const size_t step = problem.dtype == "c64" ? 2 : 1;
      for (size_t i = 0; i < A.size(); i += step) {
        if (problem.discretization == "rglru") {
          ASSERT_TRUE(A[i] > 0 && A[i] < 1) << name;
        } else {
          ASSERT_LE(A[i], 0) << name;
        }
      }
      for (const float dt : values_of(problem, "delta")) ASSERT_GE(dt, 0) << name;
    }
  }
}

TEST(Fill, ModifiersLeaveTheNumbersOfTheBaseWhereTheyChangeNothing) {
  const Problem base = problem_with("B,C", "slow");
  for (const char* modifier : {"zero_dt", "nan", "denormal", "impulse_edges"}) {
    const Problem problem = problem_with("B,C", std::string("slow+") + modifier);
    int64_t changed = 0, count = 0;
    for (const char* name : {"u", "delta", "A", "B", "C"}) {
      const auto before = values_of(base, name), after = values_of(problem, name);
      for (size_t i = 0; i < before.size(); ++i) changed += !(before[i] == after[i]), ++count;
    }
    EXPECT_GT(changed, 0) << modifier;
    EXPECT_LT(changed, count / 2) << modifier;
  }
}

TEST(Fill, ImpulsesAreWhereTheirNamesSay) {
  const auto times_of = [](const std::string& fill) {
    const auto u = values_of(problem_with("B,C", fill), "u");
    std::set<size_t> times;
    for (size_t i = 0; i < u.size(); ++i) {
      if (u[i] != 0) times.insert(i % 1000);
    }
    return times;
  };
  EXPECT_EQ(times_of("init+impulse_first"), (std::set<size_t>{0}));
  EXPECT_EQ(times_of("init+impulse_last"), (std::set<size_t>{999}));
  EXPECT_EQ(times_of("init+impulse_edges"), (std::set<size_t>{0, 255, 256, 511, 512, 767, 768}));
}

TEST(Fill, ZeroStepsAreZeroOnEveryPath) {
  for (const char* options : {"B,C", "B,C,delta_bias", "B,C,delta_softplus", "B,C,delta_bias,delta_softplus"}) {
    const Problem problem = problem_with(options, "init+zero_dt");
    const auto delta = values_of(problem, "delta");
    const auto bias = problem.options.delta_bias ? values_of(problem, "delta_bias") : std::vector<float>(64, 0.f);
    int64_t zeros = 0;
    for (size_t i = 0; i < delta.size(); ++i) {
      const float x = delta[i] + bias[i / 1000 % 64];
      zeros += (problem.options.delta_softplus ? static_cast<float>(softplus(x)) : x) == 0;
    }
    EXPECT_NEAR(static_cast<double>(zeros) / static_cast<double>(delta.size()), 0.125, 0.01) << options;
  }
}

TEST(Fill, TheTransitionOfBilinearVanishesExactly) {
  for (Problem problem : every_operation("B,C,delta_bias", "init+zero_transition")) {
    if (problem.discretization != "bilinear") continue;
    const auto A = values_of(problem, "A"), delta = values_of(problem, "delta"),
               bias = values_of(problem, "delta_bias");
    EXPECT_EQ(A[0], -1);
    int64_t vanishing = 0;
    for (size_t i = 0; i < delta.size(); ++i) vanishing += A[0] * (delta[i] + bias[i / 1000 % 64]) == -2;
    EXPECT_NEAR(static_cast<double>(vanishing) / static_cast<double>(delta.size()), 0.125, 0.05);
  }
}

TEST(Fill, OneHotHasOneNumberARow) {
  const auto dout = values_of(problem_with("B,C", "init+one_hot_dout"), "dout");
  std::set<size_t> times;
  for (size_t row = 0; row < 128; ++row) {
    int64_t hot = 0;
    for (size_t t = 0; t < 1000; ++t) {
      hot += dout[row * 1000 + t] == 1;
      if (dout[row * 1000 + t] != 0) times.insert(t);
    }
    EXPECT_EQ(hot, 1) << row;
  }
  EXPECT_GT(times.size(), 100u);
}

TEST(Fill, OneNumberOrRowIsPlantedAndNothingElseChanges) {
  std::set<std::string> tensors_hit;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    for (const char* what : {"nan", "inf", "nan_row"}) {
      Problem problem = problem_with("B,C,z,deltaA", std::string("init+") + what);
      problem.seed = seed;
      const auto plant = plant_of(problem);
      ASSERT_TRUE(plant.has_value());
      if (what == std::string("nan")) tensors_hit.insert(plant->tensor);
      EXPECT_EQ(plant_of(without_plant(problem)), std::nullopt);
      for (const TensorSpec& tensor : tensors(problem)) {
        if (tensor.role != Role::input) continue;
        if (what == std::string("nan_row") && tensor.name == plant->tensor) {
          EXPECT_EQ(plant->count, tensor.shape.back());
          EXPECT_EQ(plant->index % plant->count, 0);
        }
        const auto clean = generate(without_plant(problem), tensor), planted = generate(problem, tensor);
        for (size_t i = 0; i < clean.size(); ++i) {
          const int64_t from_plant = static_cast<int64_t>(i) - plant->index;
          const bool here = tensor.name == plant->tensor && from_plant >= 0 && from_plant < plant->count;
          ASSERT_EQ(std::isfinite(planted[i]), !here) << tensor.name << ' ' << i;
          if (!here) {
            ASSERT_EQ(planted[i], clean[i]);
          }
        }
      }
    }
  }
  EXPECT_EQ(tensors_hit, (std::set<std::string>{"u", "delta", "A", "B", "C", "z", "deltaA", "dout"}));
}

TEST(Fill, WithoutMeaningForAProblemIsSaidInWords) {
  const auto objection = [](const std::string& options, const std::string& fill) {
    return fill_objection(problem_with(options, fill)).value_or("");
  };
  EXPECT_EQ(objection("B,C", "init"), "");
  EXPECT_EQ(objection("B,C", "init+gate_edges"), "gate_edges: the problem has no z");
  EXPECT_EQ(objection("B,C,z", "init+gate_edges"), "");
  EXPECT_EQ(objection("B,C", "init+softplus_edges"), "softplus_edges: the problem has no delta_softplus");
  EXPECT_NE(objection("B,C", "init+zero_transition"), "");
  Problem forward = problem_with("B,C", "init+one_hot_dout");
  EXPECT_EQ(fill_objection(forward), std::nullopt);
  forward.direction = "forward";
  EXPECT_EQ(fill_objection(forward), "one_hot_dout: the forward reads no dout");
}

TEST(Fill, IsJudgedByWhatItWasMadeFor) {
  EXPECT_EQ(judgement_of(problem_with("B,C", "init+heavy")), Judgement::gauged);
  EXPECT_EQ(judgement_of(problem_with("B,C", "exact")), Judgement::exact);
}

}  // namespace
}  // namespace lrnnx::bench::fill_test
