// The bases: what every tensor of a problem is filled with.
#include "harness/fill.h"

namespace lrnnx::bench {
namespace {

constexpr double kPi = 0x1.921fb54442d18p+1;

constexpr auto normal = [](const Element& e) { return e.normal(); };

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
  return {};
}

// What a base must say for each kind of discretization: where A lies and how long the steps are. s7 has no A, and its
// delta is the parameter of 1 - 1/(delta^2 + 1/2); that of rglru is an exponent of A in (0, 1).
struct Ranges {
  Generator real_A, complex_A;
  Generator (*step)(const Problem& problem, std::string_view tensor);
  Generator s7_delta;
  Generator rglru_A, rglru_delta;
};

Generator generator_in(const Ranges& ranges, const Problem& problem, std::string_view tensor) {
  const bool s7 = problem.discretization == "s7", rglru = problem.discretization == "rglru";
  if (tensor == "A") return rglru ? ranges.rglru_A : problem.dtype == "c64" ? ranges.complex_A : ranges.real_A;
  if (tensor == "delta" && s7) return ranges.s7_delta;
  if (tensor == "delta" && rglru) return ranges.rglru_delta;
  const Generator step = ranges.step(problem, tensor);
  return step ? step : Generator(normal);
}

// Gu, Gupta, Goel and Re 2022, "On the Parameterization and Initialization of Diagonal State Space Models": S4D-Real
// is -(n + 1), S4D-Lin is -1/2 + i pi n. Perturbed by up to a tenth, so that no two channels agree.
constexpr auto model_transition = [](const Element& e) {
  return -static_cast<double>(e.last() + 1) * e.uniform(0.9, 1.1);
};

constexpr auto model_transition_complex = [](const Element& e) {
  return e.imaginary() ? kPi * static_cast<double>(e.last()) * e.uniform(0.9, 1.1) : -0.5 * e.uniform(0.9, 1.1);
};

// De et al. 2024, "Griffin": the gate r in (0, 1) enters as exponent 8 r of A, whose eighth power starts in [0.9,
// 0.999].
constexpr auto model_decay = [](const Element& e) { return portable_exp(portable_log(e.uniform(0.9, 0.999)) / 8); };

constexpr Ranges kInit = {
    .real_A = model_transition,
    .complex_A = model_transition_complex,
    .step = step_generator<-3, -1>,
    .s7_delta = [](const Element& e) { return 2 * e.normal(); },
    .rglru_A = model_decay,
    .rglru_delta = [](const Element& e) { return e.uniform(0, 8); },
};

constexpr Ranges kBenign = {
    .real_A = [](const Element& e) { return e.uniform(-1, -0.5); },
    .complex_A = [](const Element& e) { return e.imaginary() ? e.uniform(-1, 1) : e.uniform(-1, -0.5); },
    .step = step_generator<-1, 0>,
    .s7_delta = [](const Element& e) { return e.sign() * e.uniform(1, 2); },
    .rglru_A = [](const Element& e) { return e.uniform(0.5, 0.9); },
    .rglru_delta = [](const Element& e) { return e.log_uniform(-1, 0); },
};

constexpr Ranges kSlow = {
    .real_A = [](const Element& e) { return -e.log_uniform(-3, -2); },
    .complex_A = [](const Element& e) { return e.imaginary() ? e.uniform(-0.1, 0.1) : -e.log_uniform(-3, -2); },
    .step = step_generator<-3, -1>,
    .s7_delta = [](const Element& e) { return e.sign() * e.log_uniform(1.5, 2.5); },
    .rglru_A = [](const Element& e) { return 1 - e.log_uniform(-5, -3); },
    .rglru_delta = [](const Element& e) { return e.log_uniform(-1, 0); },
};

constexpr Ranges kStiff = {
    .real_A = [](const Element& e) { return -e.log_uniform(0, 3); },
    .complex_A = [](const Element& e) { return e.imaginary() ? 10 * e.normal() : -e.log_uniform(0, 3); },
    .step = step_generator<-3, 1>,
    .s7_delta = [](const Element& e) { return e.sign() * e.uniform(0.6, 0.8); },
    .rglru_A = [](const Element& e) { return e.log_uniform(-3, -0.3); },
    .rglru_delta = [](const Element& e) { return e.log_uniform(-1, 2); },
};

constexpr Ranges kWide = {
    .real_A = [](const Element& e) { return -e.log_uniform(-3, 3); },
    .complex_A =
        [](const Element& e) { return e.imaginary() ? e.sign() * e.log_uniform(-3, 2) : -e.log_uniform(-3, 3); },
    .step = step_generator<-6, 1>,
    .s7_delta = [](const Element& e) { return e.sign() * e.log_uniform(-3, 3); },
    .rglru_A = [](const Element& e) { return e.uniform(0.01, 0.999); },
    .rglru_delta = [](const Element& e) { return e.log_uniform(-6, 1); },
};

template <const Ranges& kRanges>
Generator generator_of(const Problem& problem, std::string_view tensor) {
  return generator_in(kRanges, problem, tensor);
}

// --- exact: integers, and steps that make every transition 0, 1, -1 or -1/2 --------------------------------------

constexpr auto one_of_two = [](const Element& e) { return e.sign(); };

// Few are not 0, so that sums of products of sums stay below 2^24.
constexpr auto rare_one = [](const Element& e) { return e.chance(1.0 / 16) ? e.sign() : 0; };

// bilinear with A = -1: a step of 2 forgets everything, one of 6 has transition -1/2 and input 3/2. No more than
// three of these follow each other, so that nothing is halved out of 24 bits.
constexpr auto exact_bilinear_step = [](const Element& e) { return e.last() % 4 != 0 && e.chance(0.75) ? 6 : 2; };

constexpr auto exact_step = [](const Element& e) { return e.chance(0.5) ? 2 : 1; };

// What softplus leaves as it is, with the slope 1.
constexpr double kExactSoftplusStep = 64, kExactBias = -1, kExactGate = 128;

// One bit more than f16 holds, four more than bf16: sums with it lie halfway between two of their numbers.
constexpr double kExactSkip = 2051;

Generator exact_step_generator(const Problem& problem) {
  if (problem.discretization == "s7") {  // transition -1 at 0 and, rounded to 53 bits, 1 at 2^28
    return [](const Element& e) { return e.chance(0.25) ? 0 : e.sign() * 0x1p28; };
  }
  const bool bilinear = problem.discretization == "bilinear";
  if (problem.options.delta_softplus) {
    return problem.options.delta_bias ? Generator([](const Element&) { return kExactSoftplusStep - kExactBias; })
                                      : Generator([](const Element&) { return kExactSoftplusStep; });
  }
  if (problem.options.delta_bias) {
    return bilinear ? Generator([](const Element& e) { return exact_bilinear_step(e) - kExactBias; })
                    : Generator([](const Element& e) { return exact_step(e) - kExactBias; });
  }
  return bilinear ? Generator(exact_bilinear_step) : exact_step;
}

Generator exact_generator(const Problem& problem, std::string_view tensor) {
  const bool bilinear = problem.discretization == "bilinear";
  if (tensor == "A")
    return bilinear ? Generator([](const Element& e) { return e.imaginary() ? 0.0 : -1.0; })
                    : Generator([](const Element&) { return 0.0; });
  if (tensor == "delta") return exact_step_generator(problem);
  if (tensor == "deltaA") return bilinear ? Generator(exact_bilinear_step) : exact_step;
  if (tensor == "delta_bias") return [](const Element&) { return kExactBias; };
  // silu is the identity there, with the slope 1.
  if (tensor == "z") return [](const Element&) { return kExactGate; };
  // As large as what is added to them, or its 24 bits would be few.
  if (tensor == "dlast_state" && problem.options.z) return [](const Element& e) { return kExactGate * e.sign(); };
  if (tensor == "h0" && problem.discretization == "mamba" && problem.options.delta_softplus)
    return [](const Element& e) { return kExactSoftplusStep * e.sign(); };
  if (tensor == "D") return [](const Element& e) { return kExactSkip * e.sign(); };
  if (tensor == "u" || tensor == "dout") return rare_one;
  return one_of_two;
}

const char* exact_objection(const Problem& problem) {
  if (problem.discretization == "zoh") return "zoh has no points that are exact in 32 bits";
  if (problem.discretization == "rglru") return "rglru has no points that are exact in 32 bits";
  if (problem.discretization == "s7" && problem.dtype == "f16")
    return "the transition of s7 is 1 at 2^28, which f16 does not reach";
  if (problem.discretization == "mamba" && problem.dtype == "f16" && problem.options.delta_softplus &&
      problem.options.z)
    return "mamba multiplies the step by the gate, and where both are linear most products are beyond f16";
  if (problem.discretization == "bilinear" && problem.options.delta_softplus)
    return "bilinear with softplus has no points that are exact in 32 bits";
  return nullptr;
}

constexpr Fill kBases[] = {
    {.name = "init",
     .description = "what models start from: A = -(n + 1), dt log-uniform in [1e-3, 1e-1], the rest normal",
     .base = generator_of<kInit>},
    {.name = "benign",
     .description = "moderate decay: A in [-1, -1/2], dt log-uniform in [0.1, 1]",
     .base = generator_of<kBenign>},
    {.name = "slow",
     .description = "hardly any decay, where a lost carry shows: A in [-1e-2, -1e-3], dt in [1e-3, 1e-1]",
     .base = generator_of<kSlow>},
    {.name = "stiff",
     .description = "from slow to underflowing decay: A in [-1e3, -1], dt in [1e-3, 10]",
     .base = generator_of<kStiff>},
    {.name = "wide",
     .description = "every order of magnitude: A in [-1e3, -1e-3], dt log-uniform in [1e-6, 10]",
     .base = generator_of<kWide>},
    {.name = "exact",
     .description = "small integers and steps at which 32 bits are exact: any difference is a fault",
     .base = exact_generator,
     .objection = exact_objection,
     .judgement = Judgement::exact},
};

}  // namespace

std::span<const Fill> fill_bases() { return kBases; }

}  // namespace lrnnx::bench
