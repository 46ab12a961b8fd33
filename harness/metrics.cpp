// What is reported for a problem. A new metric is one more entry here.
#include "harness/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace lrnnx::bench {
namespace {

template <auto Member>
Value of_summary(const Row& row) {
  return row.summary ? Value((*row.summary).*Member) : Value();
}

template <auto Member>
Value of_problem(const Row& row) {
  return Value(row.problem.*Member);
}

template <auto Member>
Value of_shape(const Row& row) {
  return Value(row.problem.shape.*Member);
}

template <auto Member>
Value of_cost(const Row& row) {
  const auto value = row.cost.*Member;
  if constexpr (std::is_same_v<decltype(value), const double>)
    return Value(value);
  else
    return value ? Value(*value) : Value();
}

// Known once all rows are: see add_speedups().
Value of_other_rows(const Row&) { return {}; }

// `count` of the cost a nanosecond: G/s.
Value per_nanosecond(const Row& row, double count) {
  return row.summary && row.summary->median > 0 ? Value(1e-6 * count / row.summary->median) : Value();
}

const Metric kMetrics[] = {
    {"family", "", "operator family", "family", Shown::if_varies, "", of_problem<&Problem::family>},
    {"discretization", "", "how A and the step become the transition", "discretization", Shown::if_varies, "",
     of_problem<&Problem::discretization>},
    {"dtype", "", "f32 or c64: real or complex weights; bf16 or f16: real, what has a time axis stored in these",
     "dtype", Shown::if_varies, "", of_problem<&Problem::dtype>},
    {"direction", "", "forward or backward", "direction", Shown::always, "", of_problem<&Problem::direction>},
    {"backend", "", "what runs it", "backend", Shown::if_varies, "", of_problem<&Problem::backend>},
    {"implementation", "", "library that computes it", "implementation", Shown::if_varies, "",
     [](const Row& row) -> Value { return implementation_of(row.problem); }},
    {"batch", "", "sequences", "batch", Shown::always, "{}", of_shape<&Shape::batch>},
    {"dim", "", "channels", "dim", Shown::always, "{}", of_shape<&Shape::dim>},
    {"seqlen", "", "time steps", "seqlen", Shown::always, "{}", of_shape<&Shape::seqlen>},
    {"dstate", "", "states a channel", "dstate", Shown::if_varies, "{}", of_shape<&Shape::dstate>},
    {"groups", "", "groups of channels that share B and C", "groups", Shown::if_varies, "{}", of_shape<&Shape::groups>},
    {"save", "", "forward in training: also writes what the backward reads", "save", Shown::if_varies, "",
     [](const Row& row) -> Value {
       if (row.problem.direction != "forward") return {};
       return row.problem.options.save ? "yes" : "no";
     }},
    {"fill", "", "distribution of the inputs", "fill", Shown::if_varies, "", of_problem<&Problem::fill>},
    {"layout", "", "how tensors lie in memory", "layout", Shown::if_varies, "",
     [](const Row& row) -> Value { return std::string(to_string(row.problem.layout)); }},
    {"seed", "", "seed given by the user", "seed", Shown::if_varies, "{}",
     [](const Row& row) -> Value { return row.problem.seed; }},
    {"cache", "", "cold: caches flushed before each sample", "cache", Shown::if_varies, "",
     [](const Row& row) -> Value { return std::string(to_string(row.cache)); }},
    {"median_ms", "ms", "median time of one launch", "median ms", Shown::always, "{:.4f}",
     of_summary<&Summary::median>},
    {"spread", "%", "interquartile range over the median", "spread", Shown::always, "{:.1f} %",
     [](const Row& row) -> Value { return row.summary ? Value(100 * row.summary->relative_spread()) : Value(); }},
    {"speedup_lrnnx", "", "median time of implementation lrnnx on the same problem in the same run over this one's",
     "over lrnnx", Shown::if_varies, "{:.2f}x", of_other_rows},
    {"speedup_naive", "", "median time of implementation naive on the same problem in the same run over this one's",
     "over naive", Shown::if_varies, "{:.2f}x", of_other_rows},
    {"min_ms", "ms", "fastest sample", "min ms", Shown::never, "{:.4f}", of_summary<&Summary::min>},
    {"q1_ms", "ms", "first quartile", "q1 ms", Shown::never, "{:.4f}", of_summary<&Summary::q1>},
    {"q3_ms", "ms", "third quartile", "q3 ms", Shown::never, "{:.4f}", of_summary<&Summary::q3>},
    {"max_ms", "ms", "slowest sample", "max ms", Shown::never, "{:.4f}", of_summary<&Summary::max>},
    {"low_ms", "ms", "lower end of the median's confidence interval", "low ms", Shown::never, "{:.4f}",
     [](const Row& row) -> Value { return row.summary ? Value(row.summary->median_interval.low) : Value(); }},
    {"high_ms", "ms", "upper end of the median's confidence interval", "high ms", Shown::never, "{:.4f}",
     [](const Row& row) -> Value { return row.summary ? Value(row.summary->median_interval.high) : Value(); }},
    {"confidence", "%", "what that interval covers", "confidence", Shown::never, "{:.1f} %",
     [](const Row& row) -> Value {
       return row.summary ? Value(100 * row.summary->median_interval.coverage) : Value();
     }},
    {"deviation", "%", "sample standard deviation over the mean", "deviation", Shown::never, "{:.1f} %",
     [](const Row& row) -> Value { return row.summary ? Value(100 * row.summary->relative_deviation) : Value(); }},
    {"samples", "", "launches timed", "samples", Shown::always, "{}",
     [](const Row& row) -> Value { return row.summary ? Value(static_cast<int64_t>(row.summary->count)) : Value(); }},
    {"processes", "", "processes that took these in turns", "processes", Shown::never, "{}",
     [](const Row& row) -> Value { return row.measurement ? Value(row.processes) : Value(); }},
    {"sampling", "", "why it ended: quiet or settled (the noise), timed out, or stopped by a signal", "sampling",
     Shown::never, "",
     [](const Row& row) -> Value {
       return row.measurement ? Value(std::string(to_string(row.measurement->stopped))) : Value();
     }},
    {"throttled", "", "samples left out because the clock was below 75 % of nominal", "throttled", Shown::if_varies,
     "{}",
     [](const Row& row) -> Value {
       return row.measurement && row.measurement->throttled > 0 ? Value(row.measurement->throttled) : Value();
     }},
    {"batched_ms", "ms", "of one launch among many in one graph, warm; of launches too short to time alone",
     "batched ms", Shown::if_varies, "{:.4f}",
     [](const Row& row) -> Value { return row.batched_ms ? Value(*row.batched_ms) : Value(); }},
    {"floor_ms", "ms", "least time that the machine's measured ceilings allow with cold caches", "floor ms",
     Shown::always, "{:.4f}", [](const Row& row) -> Value { return row.floor ? Value(row.floor->ms) : Value(); }},
    {"floor_fraction", "%", "floor over median", "of floor", Shown::always, "{:.1f} %",
     [](const Row& row) -> Value {
       if (!row.floor || !row.summary || !(row.summary->median > 0)) return {};
       return 100 * row.floor->ms / row.summary->median;
     }},
    {"binds", "", "unit that the floor keeps busy", "binds", Shown::always, "",
     [](const Row& row) -> Value { return row.floor ? Value(row.floor->binds) : Value(); }},
    {"gelements_per_s", "G/s", "elements of the sequence (batch * dim * seqlen) over the median time", "G elements/s",
     Shown::never, "{:.2f}",
     [](const Row& row) {
       const Shape& shape = row.problem.shape;
       return per_nanosecond(
           row, static_cast<double>(shape.batch) * static_cast<double>(shape.dim) * static_cast<double>(shape.seqlen));
     }},
    {"gb_per_s", "GB/s", "least bytes over the median time", "GB/s", Shown::always, "{:.1f}",
     [](const Row& row) { return per_nanosecond(row, row.cost.bytes); }},
    {"gupdates_per_s", "G/s", "state updates (batch * dim * seqlen * dstate) over the median time", "G updates/s",
     Shown::always, "{:.2f}", [](const Row& row) { return per_nanosecond(row, row.cost.state_updates); }},
    {"state_updates", "", "batch * dim * seqlen * dstate", "updates", Shown::never, "{:.0f}",
     of_cost<&Cost::state_updates>},
    {"bytes", "B", "every input read once, every output written once", "bytes", Shown::never, "{:.0f}",
     of_cost<&Cost::bytes>},
    {"exp2", "", "least exp2, reciprocals, roots, sines and cosines", "exp2", Shown::never, "{:.0f}",
     of_cost<&Cost::exp2>},
    {"issue_slots", "", "least lane instructions", "slots", Shown::never, "{:.0f}", of_cost<&Cost::issue_slots>},
    {"saved_bytes", "B", "what the forward keeps for the backward", "saved", Shown::never, "{}",
     [](const Row& row) -> Value { return row.memory ? Value(row.memory->saved_bytes) : Value(); }},
    {"workspace_bytes", "B", "scratch memory of one call", "workspace", Shown::never, "{}",
     [](const Row& row) -> Value { return row.memory ? Value(row.memory->workspace_bytes) : Value(); }},
    {"rel_error", "", "largest ||output - oracle|| / ||oracle|| over the outputs", "rel. error", Shown::always,
     "{:.1e}",
     [](const Row& row) -> Value {
       if (!row.check || row.check->tensors.empty()) return {};
       double worst = 0;
       for (const Comparison& tensor : row.check->tensors)
         if (!(tensor.rel_l2 <= worst) && !std::isnan(worst)) worst = tensor.rel_l2;  // a NaN is the worst
       return worst;
     }},
    {"verdict", "",
     "passed, failed, mistrusted, skipped, error, unchecked, or invalid (faster than the machine can be, or throttled)",
     "verdict", Shown::always, "", [](const Row& row) -> Value { return std::string(to_string(row.verdict)); }},
    {"exit_code", "", "of a program that runs only this row", "exit code", Shown::never, "{}",
     [](const Row& row) -> Value { return static_cast<int64_t>(row.exit_code); }},
    {"configuration", "", "launch configuration that ran", "configuration", Shown::always, "",
     [](const Row& row) -> Value { return row.configuration.empty() ? Value() : Value(row.configuration); }},
    {"options", "", "optional parts of the operator; B and C mean variable B and C", "options", Shown::if_varies, "",
     [](const Row& row) -> Value {
       Options options = row.problem.options;
       options.save = false;  // told by the column of its own
       return to_string(options);
     }},
    {"note", "", "what to know when reading the time", "note", Shown::if_varies, "",
     [](const Row& row) -> Value { return row.note.empty() ? Value() : Value(row.note); }},
    {"reason", "", "why the verdict is not passed", "reason", Shown::never, "",
     [](const Row& row) -> Value { return row.reason.empty() ? Value() : Value(row.reason); }},
};

}  // namespace

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::passed:
      return "passed";
    case Verdict::failed:
      return "failed";
    case Verdict::mistrusted:
      return "mistrusted";
    case Verdict::skipped:
      return "skipped";
    case Verdict::error:
      return "error";
    case Verdict::unchecked:
      return "unchecked";
    case Verdict::invalid:
      return "invalid";
  }
  return "?";
}

std::span<const Metric> metrics() { return kMetrics; }

std::string table_text(const Metric& metric, const nlohmann::ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return fmt::format(fmt::runtime(metric.format), value.get<int64_t>());
  if (value.is_number()) return fmt::format(fmt::runtime(metric.format), value.get<double>());
  return kAbsent;
}

}  // namespace lrnnx::bench
