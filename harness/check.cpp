// Runs one problem, asks the oracle and compares.
#include "harness/check.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>

#include "harness/case.h"
#include "harness/operators.h"

namespace lrnnx::bench {
namespace {

// Everything that changes what the oracle says.
std::string oracle_key(Problem problem) {
  problem.backend.clear();
  problem.configuration.clear();
  problem.options.save = false;
  return to_string(problem);
}

HostTensors download_outputs(const Case& launched) {
  HostTensors outputs;
  for (const std::string& name : launched.output_names()) outputs[name] = launched.download(name);
  return outputs;
}

// Names the first tensor of `again` that differs from `first` in any bit.
std::string differing(const HostTensors& first, const HostTensors& again) {
  for (const auto& [name, values] : first) {
    const std::vector<float>& others = again.at(name);
    if (std::memcmp(values.data(), others.data(), values.size() * sizeof(float)) != 0) return name;
  }
  return "";
}

std::string describe(const Comparison& tensor) {
  std::string text = fmt::format("{}: {}", tensor.name, tensor.reason);
  if (!tensor.worst_index.empty()) {
    text += fmt::format("; worst at {}: got {:.9g}, expected {:.9g}", format_index(tensor.worst_index),
                        tensor.worst_got, tensor.worst_expected);
  }
  return text;
}

// What is wrong, one sentence each.
std::string join_reasons(const std::vector<std::string>& reasons) {
  std::string text;
  for (const std::string& reason : reasons) text += (text.empty() ? "" : "\n") + reason;
  return text;
}

}  // namespace

const char* to_string(Status status) {
  switch (status) {
    case Status::passed:
      return "passed";
    case Status::failed:
      return "failed";
    case Status::skipped:
      return "skipped";
    case Status::error:
      return "error";
  }
  return "error";
}

const OracleTensors& Checker::expected(const Problem& problem, const HostTensors& inputs) {
  if (const std::string key = oracle_key(problem); key != oracle_key_) {
    oracle_key_.clear();  // stays empty if the oracle throws
    oracle_ = find_operator(problem.family).oracle(problem, inputs);
    oracle_key_ = key;
  }
  return oracle_;
}

CheckResult Checker::check(const Problem& problem, Backend& backend) {
  const auto start = std::chrono::steady_clock::now();
  CheckResult result;
  result.problem = problem;
  try {
    run(problem, backend, result);
  } catch (const LibraryError& error) {
    result.status = error.is_skip() ? Status::skipped : Status::error;
    result.exit_code = error.is_skip() ? ExitCode::nothing_ran : error.exit_code();
    result.reason = error.what();
  } catch (const Error& error) {
    result.exit_code = error.exit_code();
    result.reason = error.what();
  } catch (const std::exception& error) {  // the reference, or memory
    result.reason = error.what();
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

void Checker::run(const Problem& problem, Backend& backend, CheckResult& result) {
  Case launched(problem, backend);
  result.configuration = launched.configuration();
  launched.seal();
  launched.launch();
  backend.synchronize();
  const HostTensors outputs = download_outputs(launched);

  std::vector<std::string> reasons;
  for (int rerun = 1; rerun <= options_.reruns; ++rerun) {
    launched.poison_outputs();
    launched.launch();
    backend.synchronize();
    ++result.reruns;
    if (const std::string name = differing(outputs, download_outputs(launched)); !name.empty()) {
      result.deterministic = false;
      reasons.push_back(fmt::format("{}: rerun {} of the same launch gave other bits", name, rerun));
      break;
    }
  }
  const std::vector<std::string> violations = launched.violations();
  reasons.insert(reasons.end(), violations.begin(), violations.end());

  const OracleTensors& oracle = expected(problem, launched.inputs());
  for (const TensorSpec& tensor : launched.outputs()) {
    result.tensors.push_back(
        compare(tensor, outputs.at(tensor.name), oracle.at(tensor.name).value, tolerance_of(problem)));
    if (!result.tensors.back().passed) reasons.push_back(describe(result.tensors.back()));
  }
  result.reason = join_reasons(reasons);
  result.status = reasons.empty() ? Status::passed : Status::failed;
  result.exit_code = reasons.empty() ? ExitCode::ok : ExitCode::wrong_numbers;
}

}  // namespace lrnnx::bench
