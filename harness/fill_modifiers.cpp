// The modifiers: what makes an input awkward in one way.
#include <algorithm>
#include <limits>

#include "harness/fill.h"

namespace lrnnx::bench {
namespace {

using Context = Fill::Context;
using Modification = Fill::Modification;

bool is_signal(std::string_view tensor) {
  constexpr std::string_view kSignals[] = {"u", "B", "C", "D", "z", "h0", "dout", "dlast_state"};
  return std::find(std::begin(kSignals), std::end(kSignals), tensor) != std::end(kSignals);
}

bool is_step(std::string_view tensor) { return tensor == "delta" || tensor == "deltaA"; }

Element own(const Context& context, const Element& e) { return e.with_key(context.modifier_key); }
// Independent of own().
Element other(const Context& context, const Element& e) { return e.with_key(mix_bits(context.modifier_key)); }

// Whether something befalls this place; the same places in delta and deltaA.
bool event(const Context& context, const Element& e, double probability) {
  return e.with_key(context.event_key).chance(probability);
}

// What is added to the tensor before it is a step.
double bias_of(const Context& context, const Element& e) {
  if (context.tensor.name != "delta" || !context.problem.options.delta_bias) return 0;
  return context.bias[static_cast<size_t>(e.row() % context.problem.shape.dim)];
}

// What delta must be for the step dt.
double delta_for(const Context& context, const Element& e, double dt) {
  constexpr double kNoStep = -200;  // softplus(-200) is 1e-87
  const Options& options = context.problem.options;
  if (context.tensor.name != "delta") return dt;
  const double x = !options.delta_softplus ? dt : dt > 0 ? softplus_inverse(dt) : kNoStep;
  if (!options.delta_bias) return x;
  const double delta = x - bias_of(context, e);
  // Rounded to 16 bits it may not become so small that a step is negative: with stiff A one such step is e^20.
  const bool rounds = context.tensor.storage != Storage::f32 && !options.delta_softplus;
  return rounds ? delta + (delta < 0 ? -delta : delta) * 0x1p-8 : delta;
}

// --- whole tensors ------------------------------------------------------------------------------------------------

Modification positive(const Problem&, std::string_view tensor) {
  if (!is_signal(tensor)) return nullptr;
  return [](const Context&, const Element&, double value) { return value < 0 ? -value : value; };
}

Modification cancel(const Problem&, std::string_view tensor) {
  if (tensor != "u") return nullptr;
  return [](const Context&, const Element& e, double value) { return (e.last() % 2 ? 1 : -1) * (1 + 1e-3 * value); };
}

Modification heavy(const Problem&, std::string_view tensor) {
  if (tensor != "u" && tensor != "dout") return nullptr;
  return [](const Context& c, const Element& e, double value) { return value * portable_exp(3 * own(c, e).normal()); };
}

Modification constant_dt(const Problem&, std::string_view tensor) {
  if (!is_step(tensor)) return nullptr;
  return [](const Context& c, const Element& e, double) {
    const int64_t row = e.row();
    return c.base(Element(c.base_key, row * c.tensor.shape.back(), row, 0, false));
  };
}

Modification extreme_dt(const Problem& problem, std::string_view tensor) {
  if (!is_step(tensor)) return nullptr;
  if (problem.discretization == "s7") {
    return [](const Context& c, const Element& e, double) { return own(c, e).sign() * own(c, e).log_uniform(-15, 15); };
  }
  return [](const Context& c, const Element& e, double) { return delta_for(c, e, own(c, e).log_uniform(-30, 3)); };
}

Modification A_near_zero(const Problem& problem, std::string_view tensor) {
  if (tensor != "A") return nullptr;
  if (problem.discretization == "rglru") {
    return [](const Context& c, const Element& e, double) {
      const double small = own(c, e).log_uniform(-12, -2);
      return e.last() % 2 ? small : 1 - std::max(small, 0x1p-24);
    };
  }
  return [](const Context& c, const Element& e, double) {
    if (e.last() % 4 == 3) return 0.0;
    const double small = own(c, e).log_uniform(-12, -3);
    return e.imaginary() ? own(c, e).sign() * small : -small;
  };
}
const char* needs_A(const Problem& problem) { return problem.discretization == "s7" ? "s7 has no A" : nullptr; }

Modification growing(const Problem&, std::string_view tensor) {
  if (tensor != "A") return nullptr;
  return [](const Context& c, const Element& e, double value) {
    constexpr double kExponent = 8;  // over the whole row, with steps of 1
    const double most = kExponent / static_cast<double>(std::max(c.problem.shape.seqlen, int64_t{8}));
    return e.imaginary() ? value : most * own(c, e).uniform(0.1, 1);
  };
}
const char* needs_sign_of_A(const Problem& problem) {
  if (problem.discretization == "rglru") return "A of rglru lies between 0 and 1";
  return needs_A(problem);
}

// --- at some steps ------------------------------------------------------------------------------------------------

constexpr double kSometimes = 0.125, kOften = 0.5;

Modification impulse_first(const Problem&, std::string_view tensor) {
  if (tensor != "u") return nullptr;
  return [](const Context&, const Element& e, double value) { return e.last() == 0 ? value : 0; };
}

Modification impulse_last(const Problem&, std::string_view tensor) {
  if (tensor != "u") return nullptr;
  return [](const Context& c, const Element& e, double value) {
    return e.last() == c.problem.shape.seqlen - 1 ? value : 0;
  };
}

Modification impulse_edges(const Problem&, std::string_view tensor) {
  if (tensor != "u") return nullptr;
  return [](const Context& c, const Element& e, double value) {
    const int64_t chunk = c.problem.shape.seqlen > 512 ? 256 : 32;
    return e.last() % chunk == 0 || e.last() % chunk == chunk - 1 ? value : 0;
  };
}

Modification zero_dt(const Problem&, std::string_view tensor) {
  if (!is_step(tensor)) return nullptr;
  return [](const Context& c, const Element& e, double value) {
    return event(c, e, kSometimes) ? delta_for(c, e, 0) : value;
  };
}
const char* needs_step(const Problem& problem) {
  return problem.discretization == "s7" ? "delta of s7 is no step" : nullptr;
}

Modification negative_dt(const Problem& problem, std::string_view tensor) {
  if (!is_step(tensor) || (tensor == "delta" && problem.options.delta_softplus)) return nullptr;
  return [](const Context& c, const Element& e, double value) {
    if (!event(c, e, kSometimes)) return value;
    return -value - 2 * bias_of(c, e);
  };
}
const char* needs_negative_step(const Problem& problem) {
  if (problem.discretization == "rglru") return "delta of rglru is an exponent, and not below 0";
  if (problem.options.delta_softplus && !problem.options.deltaA) return "delta_softplus leaves no step below 0";
  return needs_step(problem);
}

Modification zero_transition(const Problem& problem, std::string_view tensor) {
  if (problem.discretization == "s7" && tensor == "delta") {  // 0 at sqrt(1/2)
    return [](const Context& c, const Element& e, double value) {
      constexpr double kRoot = 0x1.6a09e667f3bcdp-1;
      const Element random = own(c, e);
      return event(c, e, kOften) ? random.sign() * kRoot * (1 + random.log_uniform(-9, -1)) : value;
    };
  }
  if (tensor == "A") {
    return [](const Context&, const Element& e, double value) {
      return e.last() % 2 ? value : e.imaginary() ? 0.0 : -1.0;
    };
  }
  if (!is_step(tensor)) return nullptr;
  return [](const Context& c, const Element& e, double value) {
    return event(c, e, kSometimes) ? delta_for(c, e, 2) : value;
  };
}
const char* needs_zero_transition(const Problem& problem) {
  return problem.discretization == "bilinear" || problem.discretization == "s7"
             ? nullptr
             : "only bilinear and s7 have transitions that are 0 between others";
}

Modification softplus_edges(const Problem&, std::string_view tensor) {
  if (tensor != "delta") return nullptr;
  return [](const Context& c, const Element& e, double value) {
    if (!event(c, e, kOften)) return value;
    constexpr double kEdges[] = {20, -104, -88, -20, 0};
    const Element random = own(c, e);
    const auto edge = static_cast<size_t>(random.uniform(0, std::size(kEdges)));
    const double between = other(c, e).uniform(-110, 130);
    const double x = other(c, e).sign() > 0 ? kEdges[edge] + random.normal() : between;
    return x - bias_of(c, e);
  };
}
const char* needs_softplus(const Problem& problem) {
  return problem.options.delta_softplus ? nullptr : "the problem has no delta_softplus";
}

Modification gate_edges(const Problem&, std::string_view tensor) {
  if (tensor != "z") return nullptr;
  return [](const Context& c, const Element& e, double value) {
    if (!event(c, e, kOften)) return value;
    constexpr double kEdges[] = {100, -100, 20, -20, 0};
    const double edge = kEdges[static_cast<size_t>(own(c, e).uniform(0, std::size(kEdges)))];
    const double between = own(c, e).sign() * other(c, e).log_uniform(0, 2.3);
    return other(c, e).sign() > 0 ? edge : between;
  };
}
const char* needs_gate(const Problem& problem) { return problem.options.z ? nullptr : "the problem has no z"; }

Modification denormal(const Problem&, std::string_view tensor) {
  if (!is_signal(tensor) || tensor == "z") return nullptr;
  return [](const Context& c, const Element& e, double value) {
    const Element random = own(c, e);
    return random.chance(kSometimes) ? random.sign() * e.log_uniform(-44, -39) : value;
  };
}

// At one step of each row.
Modification one_hot_dout(const Problem&, std::string_view tensor) {
  if (tensor != "dout") return nullptr;
  return [](const Context& c, const Element& e, double) {
    const Element row(c.modifier_key, e.row(), e.row(), 0, false);
    const auto hot = static_cast<int64_t>(row.uniform(0, static_cast<double>(c.problem.shape.seqlen)));
    return e.last() == hot ? 1.0 : 0.0;
  };
}
const char* needs_backward(const Problem& problem) {
  return problem.direction == "backward" ? nullptr : "the forward reads no dout";
}

// At one place alone: generate() puts it where plant_of() says.
Modification plant(const Problem&, std::string_view) { return nullptr; }

constexpr Fill kModifiers[] = {
    {.name = "positive", .description = "no signs, so that nothing cancels", .modifier = positive},
    {.name = "cancel", .description = "u is 1 and -1 in turns, give or take 1e-3", .modifier = cancel},
    {.name = "heavy",
     .description = "u and dout times e^(3x), x normal: few elements outweigh all others",
     .modifier = heavy},
    {.name = "constant_dt", .description = "each channel keeps one step for all time", .modifier = constant_dt},
    {.name = "extreme_dt",
     .description = "steps from 1e-30 to 1e3; delta of s7 from 1e-15 to 1e15",
     .modifier = extreme_dt},
    {.name = "A_near_zero",
     .description = "A from -1e-3 to -1e-12, a quarter 0; A of rglru beside 0 and beside 1",
     .modifier = A_near_zero,
     .objection = needs_A},
    {.name = "growing",
     .description = "A above 0, so small that with steps up to 1 no state grows by more than e^8",
     .modifier = growing,
     .objection = needs_sign_of_A},
    {.name = "impulse_first", .description = "u is 0 after the first step", .modifier = impulse_first},
    {.name = "impulse_edges",
     .description = "u is 0 but on both sides of every edge between chunks of 32 or 256 steps",
     .modifier = impulse_edges},
    {.name = "impulse_last", .description = "u is 0 before the last step", .modifier = impulse_last},
    {.name = "zero_dt",
     .description = "an eighth of the steps have dt = 0",
     .modifier = zero_dt,
     .objection = needs_step},
    {.name = "negative_dt",
     .description = "an eighth of the steps are negative",
     .modifier = negative_dt,
     .objection = needs_negative_step},
    {.name = "zero_transition",
     .description = "steps that forget everything: dt A = -2 in bilinear, delta around sqrt(1/2) in s7",
     .modifier = zero_transition,
     .objection = needs_zero_transition},
    {.name = "softplus_edges",
     .description = "half of delta where softplus changes its form: around 20, 0, -20, -88, -104, and from -110 to 130",
     .modifier = softplus_edges,
     .objection = needs_softplus},
    {.name = "gate_edges",
     .description = "half of z in {-100, -20, 0, 20, 100}, and from 1 to 200 of either sign",
     .modifier = gate_edges,
     .objection = needs_gate},
    {.name = "denormal", .description = "an eighth of the signals from 1e-44 to 1e-39", .modifier = denormal},
    {.name = "one_hot_dout",
     .description = "dout is 0 but for one step of each row",
     .modifier = one_hot_dout,
     .objection = needs_backward},
    {.name = "nan",
     .description = "one NaN in one input: it must reach what depends on it, and nothing else",
     .modifier = plant,
     .plant = std::numeric_limits<float>::quiet_NaN()},
    {.name = "inf",
     .description = "likewise one infinity, in an input that the outputs are linear in",
     .modifier = plant,
     .plant = std::numeric_limits<float>::infinity()},
    {.name = "nan_row",
     .description = "likewise a whole row of NaN: all times, or of A all states",
     .modifier = plant,
     .plant = std::numeric_limits<float>::quiet_NaN(),
     .plants_row = true},
};

}  // namespace

std::span<const Fill> fill_modifiers() { return kModifiers; }

}  // namespace lrnnx::bench
