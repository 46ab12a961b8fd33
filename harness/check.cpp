// Runs one problem, asks the oracle and compares.
#include "harness/check.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "harness/activity.h"
#include "harness/case.h"
#include "harness/npy.h"
#include "harness/operators.h"
#include "harness/output.h"
#include "harness/probe.h"

namespace lrnnx::bench {
namespace {

// Everything that changes what the oracle says.
std::string oracle_key(Problem problem, const HostTensors& intermediates) {
  problem.backend.clear();
  problem.implementation.clear();
  problem.configuration.clear();
  problem.layout = MemoryLayout::contiguous;
  problem.options.save = false;
  std::string key = to_string(problem);
  for (const auto& [name, values] : intermediates) {
    const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    key += fmt::format(" {}={:016x}", name, hash_text(bytes));
  }
  return key;
}

HostTensors download_outputs(const Case& launched) {
  HostTensors outputs;
  for (const std::string& name : launched.output_names()) outputs[name] = launched.download(name);
  return outputs;
}

HostTensors launch_and_download(Case& prepared) {
  {
    const Doing kernels(Activity::kernels);
    prepared.launch();
    prepared.backend().synchronize();
  }
  return download_outputs(prepared);
}

// Names the first tensor of `again` that differs from `first` in any bit.
std::string differing(const HostTensors& first, const HostTensors& again) {
  for (const auto& [name, values] : first) {
    const std::vector<float>& others = again.at(name);
    if (std::memcmp(values.data(), others.data(), values.size() * sizeof(float)) != 0) return name;
  }
  return "";
}

// A folder under `directory` that the problem's text names: problem.txt, input.*.npy, got.*.npy, expected.*.npy.
std::string dump(const std::string& directory, const Case& launched, const HostTensors& outputs,
                 const OracleTensors& oracle) {
  const HostTensors inputs = launched.inputs();
  const std::string line = to_string(launched.problem());
  const std::string folder = fmt::format("{}/{}-{:016x}", directory, variant_name(launched.problem()), hash_text(line));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw SystemError(fmt::format("cannot make the folder {}: {}", folder, error.message()));
  write_file(folder + "/problem.txt", line + '\n');
  for (const TensorSpec& tensor : tensors(launched.problem())) {
    const auto path = [&](const char* kind) { return fmt::format("{}/{}.{}.npy", folder, kind, tensor.name); };
    const auto write = [&](const char* kind, const std::vector<float>& values) {
      write_npy(path(kind), values, tensor.shape, tensor.complex, tensor.storage);
    };
    if (tensor.role == Role::input) write("input", inputs.at(tensor.name));
    if (tensor.role == Role::intermediate) write("input", launched.download(tensor.name));
    if (tensor.role != Role::output) continue;
    write("got", outputs.at(tensor.name));
    write_npy(path("expected"), oracle.at(tensor.name).value, tensor.shape, tensor.complex);
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

// The oracle's answer with another value in the place of the plant.
OracleTensors oracle_with(const Problem& problem, HostTensors inputs, const Plant& plant, float (*other)(float)) {
  float& value = inputs.at(plant.tensor)[static_cast<size_t>(plant.index)];
  value = other(value);
  const Doing oracle(Activity::oracle);
  return find_operator(problem.family).oracle(problem, inputs);
}

// What is wrong, one sentence each.
std::string join_reasons(const std::vector<std::string>& reasons) {
  std::string text;
  for (const std::string& reason : reasons) text += (text.empty() ? "" : "\n") + reason;
  return text;
}

}  // namespace

std::string Checker::rerun(Case& launched, const HostTensors& outputs, CheckResult& result) const {
  for (int rerun = 1; rerun <= options_.reruns; ++rerun) {
    launched.poison_outputs();
    const HostTensors again = launch_and_download(launched);
    ++result.reruns;
    if (const std::string name = differing(outputs, again); !name.empty()) {
      result.deterministic = false;
      return fmt::format("{}: rerun {} of the same launch gave other bits", name, rerun);
    }
  }
  return "";
}

const OracleTensors& Checker::expected(const Problem& problem, const HostTensors& inputs,
                                       const HostTensors& intermediates) {
  if (const std::string key = oracle_key(problem, intermediates); key != oracle_key_) {
    const Doing oracle(Activity::oracle);
    oracle_key_.clear();  // stays empty if the oracle throws
    HostTensors known = inputs;
    known.insert(intermediates.begin(), intermediates.end());
    oracle_ = find_operator(problem.family).oracle(problem, known);
    oracle_key_ = key;
  }
  return oracle_;
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
  const HostTensors outputs = launch_and_download(launched);
  if (const std::string fault = rerun(launched, outputs, result); !fault.empty()) faults.push_back(fault);
  faults = concatenated(faults, launched.violations());

  // With a plant, what the launch gives without it is compared; then what the plant did to that.
  const Problem comparable = without_plant(problem);
  const HostTensors inputs = generate_inputs(comparable);
  const auto plant = plant_of(problem);
  HostTensors compared = outputs, intermediates = launched.rounded_intermediates();
  if (plant) {
    Case clean(comparable, backend, library);
    compared = launch_and_download(clean);
    intermediates = clean.rounded_intermediates();
  }
  const OracleTensors& oracle = expected(comparable, inputs, intermediates);
  if (plant) {
    // All three by the reference's own intermediates, so that they differ by the plant alone.
    faults = concatenated(
        faults,
        causality_faults(problem, *plant, outputs, compared,
                         {.clean = intermediates.empty() ? oracle : oracle_with(problem, inputs, *plant, same_value),
                          .moved = oracle_with(problem, inputs, *plant, moved_value),
                          .lost = oracle_with(problem, inputs, *plant, nan_value)}));
  }
  for (const TensorSpec& tensor : launched.outputs()) {
    result.tensors.push_back(compare(tensor, compared.at(tensor.name), oracle.at(tensor.name), judgement_of(problem)));
    const Comparison& comparison = result.tensors.back();
    if (comparison.status == Status::failed) faults.push_back(describe(comparison));
    if (comparison.status == Status::mistrusted) doubts.push_back(describe(comparison));
  }

  result.status = !faults.empty() ? Status::failed : !doubts.empty() ? Status::mistrusted : Status::passed;
  result.exit_code = !faults.empty()   ? ExitCode::wrong_numbers
                     : !doubts.empty() ? ExitCode::nothing_ran  // nothing was shown
                                       : ExitCode::ok;
  result.reason = join_reasons(faults.empty() ? doubts : faults);
  if (!options_.dump.empty() && (options_.dump_all || result.status != Status::passed))
    result.dumped = dump(options_.dump, launched, outputs, oracle);
}

}  // namespace lrnnx::bench
