// The fills, and the counter-based generator under them.
#include "harness/fill.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "harness/error.h"

namespace lrnnx::bench {
namespace {

constexpr double kLn2 = 0x1.62e42fefa39efp-1;
constexpr double kLog2Of10 = 0x1.a934f0979a371p+1;

// Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators": the output function of SplitMix64.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

int count_ones(uint64_t x) {
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
  return static_cast<int>((x * 0x0101010101010101u) >> 56);
}

// 1 / k: divisions would dominate the series below.
constexpr auto kReciprocals = [] {
  std::array<double, 24> reciprocals{};
  for (size_t k = 1; k < reciprocals.size(); ++k) reciprocals[k] = 1.0 / static_cast<double>(k);
  return reciprocals;
}();

// libm's transcendental functions differ between platforms in the last bit; these do not. |x| <= 1000.
double exp2(double x) {
  const auto n = static_cast<int64_t>(x + (x < 0 ? -0.5 : 0.5));
  const double y = (x - static_cast<double>(n)) * kLn2;
  double sum = 1;
  for (size_t k = 13; k >= 1; --k) sum = 1 + sum * (y * kReciprocals[k]);
  return sum * std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52);
}

// ln x = 2 artanh((x - 1) / (x + 1)), after x is brought to [sqrt(1/2), sqrt(2)) by a power of two. x normal.
double log(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  int64_t exponent = static_cast<int64_t>(bits >> 52) - 1023;
  double mantissa = std::bit_cast<double>((bits & ((uint64_t{1} << 52) - 1)) | (uint64_t{1023} << 52));
  if (mantissa > 0x1.6a09e667f3bcdp+0) {
    mantissa /= 2;
    ++exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1), square = s * s;
  double sum = 0;
  for (int k = 21; k >= 1; k -= 2) sum = kReciprocals[static_cast<size_t>(k)] + square * sum;
  return 2 * s * sum + static_cast<double>(exponent) * kLn2;
}

// softplus(x) = y solved for x: ln(e^y - 1).
double softplus_inverse(double y) {
  double expm1 = 0;
  if (y < 0.5) {
    for (size_t k = 13; k >= 1; --k) expm1 = y * kReciprocals[k] * (1 + expm1);
  } else {
    expm1 = exp2(y / kLn2) - 1;
  }
  return log(expm1);
}

// The step dt is 10^Low to 10^High whatever path it takes: plain, through softplus, or over the bias.
template <int Low, int High>
Generator step_generator(const Problem& problem, std::string_view tensor) {
  const Generator plain = [](const Element& e) { return e.log_uniform(Low, High); };
  const Generator inverse = [](const Element& e) { return softplus_inverse(e.log_uniform(Low, High)); };
  const Options& options = problem.options;
  if (tensor == "deltaA") return plain;
  if (tensor == "delta_bias") return options.delta_softplus ? inverse : plain;
  if (tensor == "delta" && options.delta_softplus && options.delta_bias) {
    return [](const Element& e) { return 0.25 * e.normal(); };
  }
  if (tensor == "delta") return options.delta_softplus ? inverse : plain;
  return nullptr;
}

Generator normal_generator() {
  return [](const Element& e) { return e.normal(); };
}

// Gu, Gupta, Goel and Re 2022, "On the Parameterization and Initialization of Diagonal State Space Models": S4D-Real
// is -(n + 1), S4D-Lin is -1/2 + i pi n. Perturbed by up to a tenth, so that no two channels agree.
double model_transition(const Element& e) { return -static_cast<double>(e.last() + 1) * e.uniform(0.9, 1.1); }

double model_transition_complex(const Element& e) {
  constexpr double kPi = 0x1.921fb54442d18p+1;
  return e.imaginary() ? kPi * static_cast<double>(e.last()) * e.uniform(0.9, 1.1) : -0.5 * e.uniform(0.9, 1.1);
}

Generator init_generator(const Problem& problem, std::string_view tensor) {
  if (tensor == "A") return problem.dtype == "c64" ? model_transition_complex : model_transition;
  const Generator step = step_generator<-3, -1>(problem, tensor);
  return step ? step : normal_generator();
}

Generator benign_generator(const Problem& problem, std::string_view tensor) {
  if (tensor == "A") return [](const Element& e) { return e.imaginary() ? e.uniform(-1, 1) : e.uniform(-1, -0.5); };
  const Generator step = step_generator<-1, 0>(problem, tensor);
  return step ? step : normal_generator();
}

Generator slow_generator(const Problem& problem, std::string_view tensor) {
  if (tensor == "A")
    return [](const Element& e) { return e.imaginary() ? e.uniform(-0.1, 0.1) : -e.log_uniform(-3, -2); };
  const Generator step = step_generator<-3, -1>(problem, tensor);
  return step ? step : normal_generator();
}

Generator stiff_generator(const Problem& problem, std::string_view tensor) {
  if (tensor == "A") return [](const Element& e) { return e.imaginary() ? 10 * e.normal() : -e.log_uniform(0, 3); };
  const Generator step = step_generator<-3, 1>(problem, tensor);
  return step ? step : normal_generator();
}

constexpr Fill kFills[] = {
    {"init", "what models start from: A = -(n + 1), dt log-uniform in [1e-3, 1e-1], the rest normal", 200,
     init_generator},
    {"benign", "moderate decay: A in [-1, -1/2], dt log-uniform in [0.1, 1]", 5, benign_generator},
    {"slow", "hardly any decay, where a lost carry shows: A in [-1e-2, -1e-3], dt in [1e-3, 1e-1]", 2e4,
     slow_generator},
    {"stiff", "from slow to underflowing decay: A in [-1e3, -1], dt in [1e-3, 10]", 5, stiff_generator},
};

}  // namespace

uint64_t Element::bits(uint64_t draw) const { return mix(key_ + (2 * index_ + draw + 1) * 0x9E3779B97F4A7C15u); }

double Element::uniform(double low, double high) const {
  return low + (high - low) * (static_cast<double>(bits(0) >> 11) * 0x1p-53);
}

double Element::log_uniform(double low_exponent, double high_exponent) const {
  return exp2(kLog2Of10 * uniform(low_exponent, high_exponent));
}

// The number of ones in 64 random bits, less 32, is binomial with variance 16; the sum of two uniforms (variance 1/6)
// fills the gaps. Its excess kurtosis is -0.03. No logarithm, so exact everywhere.
double Element::normal() const {
  constexpr double kPerDeviation = 1 / 4.0207793606049406;  // 1 / sqrt(16 + 1/6)
  const uint64_t second = bits(1);
  const double smooth = static_cast<double>((second >> 32) + (second & 0xFFFFFFFFu)) * 0x1p-32 - 1;
  return (static_cast<double>(count_ones(bits(0)) - 32) + smooth) * kPerDeviation;
}

std::span<const Fill> fills() { return kFills; }

const Fill& find_fill(std::string_view name) {
  const auto fill = std::find_if(std::begin(kFills), std::end(kFills), [&](const Fill& f) { return f.name == name; });
  if (fill != std::end(kFills)) return *fill;
  std::vector<std::string> names;
  for (const Fill& candidate : kFills) names.emplace_back(candidate.name);
  throw UsageError(fmt::format("fill '{}': expected {}", name, join_or(names)));
}

std::vector<float> generate(const Problem& problem, const TensorSpec& tensor) {
  const Generator generator = find_fill(problem.fill).generator(problem, tensor.name);
  const uint64_t key = mix(mix(data_seed(problem)) ^ hash_text(tensor.name));
  const int64_t components = tensor.complex ? 2 : 1;
  const int64_t last_extent = tensor.shape.back();
  const int64_t count = tensor.floats();
  const bool decays = problem.discretization == "rglru" && tensor.name == "A";  // in (0, 1)
  std::vector<float> values(static_cast<size_t>(count));
  constexpr int64_t kBlock = 1 << 14;
#pragma omp parallel for schedule(static) if (count > kBlock)
  for (int64_t block = 0; block < (count + kBlock - 1) / kBlock; ++block) {
    const int64_t begin = block * kBlock, end = std::min(count, begin + kBlock);
    int64_t last = begin / components % last_extent;
    for (int64_t i = begin; i < end; ++i) {
      const bool imaginary = components == 2 && i % 2 == 1;
      const double value = generator(Element(key, i, last, imaginary));
      values[static_cast<size_t>(i)] = static_cast<float>(decays ? exp2(std::max(value, -64.0)) : value);
      if (components == 1 || imaginary) last = last + 1 == last_extent ? 0 : last + 1;
    }
  }
  return values;
}

// FNV-1a, with SplitMix64's finaliser for the high bits.
uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return mix(hash);
}

}  // namespace lrnnx::bench
