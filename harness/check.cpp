// Runs one problem, asks the oracle and compares.
#include "harness/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>

#include "harness/activity.h"
#include "harness/case.h"
#include "harness/files.h"
#include "harness/npy.h"
#include "harness/operators.h"
#include "harness/probe.h"

namespace lrnnx::bench {
namespace {

// Everything that changes what the oracle says.
std::string oracle_key(const Problem& problem, const HostTensors& intermediates) {
  std::string key = to_string(question_of(problem));
  for (const auto& [name, values] : intermediates) {
    const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    key += fmt::format(" {}={:016x}", name, hash_text(bytes));
  }
  return key;
}

void launch(Case& prepared) {
  const Doing kernels(Activity::kernels);
  prepared.launch();
  prepared.backend().synchronize();
}

// What went into a comparison and came out of it.
struct Compared {
  const HostTensors &inputs, &outputs;
  const Case& launched;  // has what a forward before it left
  const OracleTensors& expected;
  const HostTensors* planted;  // what the launch with a plant gave, of a fill that has one
};

// A folder under `directory` that the problem's text names: problem.txt, input.*.npy, got.*.npy, expected.*.npy and
// planted.*.npy.
std::string dump(const std::string& directory, const Problem& problem, const Compared& compared) {
  const std::string line = to_string(problem);
  const std::string folder = fmt::format("{}/{}-{:016x}", directory, variant_name(problem), hash_text(line));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw SystemError(fmt::format("cannot make the folder {}: {}", folder, error.message()));
  write_file(folder + "/problem.txt", line + '\n');
  for (const TensorSpec& tensor : tensors(problem)) {
    const auto path = [&](const char* kind) { return fmt::format("{}/{}.{}.npy", folder, kind, tensor.name); };
    const auto write = [&](const char* kind, const HostTensors& values) {
      if (const auto found = values.find(tensor.name); found != values.end())
        write_npy(path(kind), found->second, tensor.shape, tensor.complex, tensor.storage);
    };
    write("input", compared.inputs);
    if (tensor.role == Role::intermediate) write("input", {{tensor.name, compared.launched.download(tensor.name)}});
    if (tensor.role != Role::output) continue;
    write("got", compared.outputs);
    if (compared.planted) write("planted", *compared.planted);
    write_npy(path("expected"), compared.expected.at(tensor.name).value, tensor.shape, tensor.complex);
  }
  return folder;
}

std::vector<std::string> concatenated(std::vector<std::string> first, const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

HostTensors generate_inputs(const Problem& problem) {
  HostTensors inputs;
  for (const TensorSpec& tensor : tensors(problem)) {
    if (tensor.role == Role::input) inputs[tensor.name] = generate(problem, tensor);
  }
  return inputs;
}

float same_value(float value) { return value; }
float nan_value(float) { return std::numeric_limits<float>::quiet_NaN(); }
// Within whatever range the value had to keep.
float moved_value(float value) { return value == 0 ? 0.25f : 0.5f * value; }

OracleTensors ask_oracle(const Problem& problem, const HostTensors& inputs, OracleDepth depth,
                         const std::function<void(const char*)>& on_phase) {
  const Doing oracle(Activity::oracle);
  on_phase(kReferencePhase);
  OracleTensors answer = find_operator(problem.family).oracle(problem, inputs, depth);
  on_phase(kCheckingPhase);
  return answer;
}

// The oracle's answer with other values in the place of the plant.
OracleTensors oracle_with(const Problem& problem, HostTensors inputs, const Plant& plant, float (*other)(float),
                          const std::function<void(const char*)>& on_phase) {
  for (float& value :
       std::span(inputs.at(plant.tensor)).subspan(static_cast<size_t>(plant.index), static_cast<size_t>(plant.count)))
    value = other(value);
  return ask_oracle(problem, inputs, OracleDepth::values, on_phase);
}

// What is wrong, one sentence each.
std::string join_reasons(const std::vector<std::string>& reasons) {
  std::string text;
  for (const std::string& reason : reasons) text += (text.empty() ? "" : "\n") + reason;
  return text;
}

}  // namespace

std::string Checker::rerun(Case& launched, CheckResult& result) const {
  auto told = std::chrono::steady_clock::now();
  for (int rerun = 1; rerun <= options_.reruns; ++rerun) {
    if (const auto now = std::chrono::steady_clock::now(); now - told > std::chrono::seconds(1)) {
      on_phase(kCheckingPhase);  // a sign of life
      told = now;
    }
    launched.poison_outputs();
    launch(launched);
    ++result.reruns;
    const std::vector<uint64_t> first = result.output_checksums, again = launched.output_checksums();
    if (const auto [differs, _] = std::ranges::mismatch(first, again); differs != first.end()) {
      result.deterministic = false;
      return fmt::format("{}: rerun {} of the same launch gave other bits",
                         launched.output_names()[static_cast<size_t>(differs - first.begin())], rerun);
    }
  }
  return "";
}

const OracleTensors& Checker::expected(const Problem& problem, const HostTensors& inputs,
                                       const HostTensors& intermediates, OracleDepth depth) {
  if (const std::string key = oracle_key(problem, intermediates); key != oracle_key_ || depth > oracle_depth_) {
    oracle_key_.clear();  // stays empty if the oracle throws
    HostTensors known = inputs;
    known.insert(intermediates.begin(), intermediates.end());
    oracle_ = ask_oracle(problem, known, depth, on_phase);
    oracle_key_ = key;
    oracle_depth_ = depth;
  }
  return oracle_;
}

Problem question_of(Problem problem) {
  problem.backend.clear();
  problem.implementation.clear();
  problem.configuration.clear();
  problem.layout = MemoryLayout::contiguous;
  problem.options.save = false;
  return problem;
}

CheckResult broken_check(const Problem& problem, const std::string& reason) {
  CheckResult result;
  result.problem = problem;
  result.reason = reason;
  return result;
}

CheckResult Checker::check(const Problem& problem, Backend& backend, const Library& library) {
  const auto start = std::chrono::steady_clock::now();
  CheckResult result;
  result.problem = problem;
  const auto skip = [&](SkipReason reason, const std::string& text) {
    result.status = Status::skipped;
    result.skip_reason = reason;
    result.exit_code = ExitCode::nothing_ran;
    result.reason = text;
  };
  try {
    if (const auto objection = fill_objection(problem)) {
      skip(SkipReason::fill_does_not_apply, *objection);
    } else {
      run(problem, backend, library, result);
    }
  } catch (const LibraryError& error) {
    result.exit_code = error.exit_code();
    result.reason = error.what();
    if (error.is_skip()) skip(error.skip_reason(), error.what());
  } catch (const OutOfMemory& error) {
    skip(SkipReason::not_enough_memory, error.what());
  } catch (const Error& error) {
    result.exit_code = error.exit_code();
    result.reason = error.what();
  } catch (const std::bad_alloc&) {
    skip(SkipReason::not_enough_memory, "the host has too little for the tensors and the reference");
  } catch (const std::exception& error) {  // the reference
    result.reason = error.what();
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

void Checker::run(const Problem& problem, Backend& backend, const Library& library, CheckResult& result) {
  const Doing comparison(Activity::comparison);
  std::vector<std::string> faults, doubts;
  Case launched(problem, backend, library);
  result.configuration = launched.configuration();
  launched.seal();
  launch(launched);
  const HostTensors outputs = launched.download_outputs();
  result.output_checksums = launched.output_checksums();
  if (const std::string fault = rerun(launched, result); !fault.empty()) faults.push_back(fault);
  faults = concatenated(faults, launched.violations());

  // With a plant, what the launch gives without it is compared; then what the plant did to that.
  const Problem comparable = without_plant(problem);
  const HostTensors inputs = generate_inputs(comparable);
  const auto plant = plant_of(problem);
  HostTensors intermediates = launched.rounded_intermediates(), clean_outputs;
  std::optional<Case> clean;
  if (plant) {
    clean.emplace(comparable, backend, library);
    launch(*clean);
    clean_outputs = clean->download_outputs();
    intermediates = clean->rounded_intermediates();
  }
  const HostTensors& compared = plant ? clean_outputs : outputs;
  const auto compare_with = [&](OracleDepth depth) -> const OracleTensors& {
    const OracleTensors& oracle = expected(comparable, inputs, intermediates, depth);
    result.tensors.clear();
    for (const TensorSpec& tensor : launched.outputs())
      result.tensors.push_back(
          compare(tensor, compared.at(tensor.name), oracle.at(tensor.name), judgement_of(problem)));
    return oracle;
  };
  // What passes without an envelope passes with one.
  const OracleTensors* oracle = &compare_with(OracleDepth::gauges);
  if (std::ranges::any_of(result.tensors, [](const Comparison& tensor) { return tensor.S1 > tensor.T1; }))
    oracle = &compare_with(OracleDepth::envelopes);
  if (plant) {
    // All three by the reference's own intermediates, so that they differ by the plant alone.
    faults = concatenated(
        faults,
        causality_faults(
            problem, *plant, outputs, compared,
            {.clean = intermediates.empty() ? *oracle : oracle_with(problem, inputs, *plant, same_value, on_phase),
             .moved = oracle_with(problem, inputs, *plant, moved_value, on_phase),
             .lost = oracle_with(problem, inputs, *plant, nan_value, on_phase)}));
  }
  for (const Comparison& comparison : result.tensors) {
    if (comparison.status == Status::failed) faults.push_back(describe(comparison));
    if (comparison.status == Status::mistrusted) doubts.push_back(describe(comparison));
  }

  result.status = !faults.empty() ? Status::failed : !doubts.empty() ? Status::mistrusted : Status::passed;
  result.exit_code = !faults.empty()   ? ExitCode::wrong_numbers
                     : !doubts.empty() ? ExitCode::nothing_ran  // nothing was shown
                                       : ExitCode::ok;
  result.reason = join_reasons(faults.empty() ? doubts : faults);
  if (options_.dump.empty() || (!options_.dump_all && result.status == Status::passed)) return;
  try {
    result.dumped = dump(options_.dump, problem,
                         {.inputs = inputs,
                          .outputs = compared,
                          .launched = clean ? *clean : launched,
                          .expected = *oracle,
                          .planted = plant ? &outputs : nullptr});
  } catch (const SystemError& error) {
    // A fault stays one.
    result.reason += fmt::format("{}--dump: {}", result.reason.empty() ? "" : "\n", error.what());
    if (result.status == Status::failed) return;
    result.status = Status::error;
    result.exit_code = error.exit_code();
  }
}

}  // namespace lrnnx::bench
