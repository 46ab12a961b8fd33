// Does a variant compute what its operator defines? Runs it, asks the oracle, compares, and says so.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "harness/backend.h"
#include "harness/case.h"
#include "harness/compare.h"
#include "harness/error.h"
#include "harness/fill.h"
#include "harness/problem.h"
#include "harness/status.h"
#include "harness/tensors.h"

namespace lrnnx::bench {

struct CheckResult {
  Problem problem;
  Status status = Status::error;
  SkipReason skip_reason = SkipReason::none;
  ExitCode exit_code = ExitCode::system;  // of a program that checks only this
  std::string reason;                     // empty if passed; one line a fault
  std::vector<Comparison> tensors;        // one an output
  bool deterministic = true;              // every rerun gave the same bits
  int reruns = 0;
  std::string configuration;  // that ran
  std::string dumped;         // the folder with its tensors, if any were written
  double seconds = 0;
  std::vector<uint64_t> output_checksums;  // of the bits that came out; a launch on the same inputs gives them again
};

// What the reference is asked: problems with the same question have the same answer, but for intermediates that a
// backward reads.
Problem question_of(Problem problem);

// What befell the process that was to check the problem.
CheckResult broken_check(const Problem& problem, const std::string& reason);

struct CheckOptions {
  int reruns = 1;  // launches beyond the first, each compared bitwise with it
  // Where the inputs, what came out and what was expected go as .npy files, a folder a problem; empty: nowhere.
  std::string dump = {};
  bool dump_all = false;  // also of what passed
};

// Never throws for what the variant or the machine did wrong: that is the result. Keeps the oracle's last answer, so
// that the same problem on another backend or by another library is not computed twice.
inline constexpr const char* kCheckingPhase = "checking";
inline constexpr const char* kReferencePhase = "asking the reference";

class Checker {
 public:
  explicit Checker(CheckOptions options = {}) : options_(options) {}
  CheckResult check(const Problem& problem, Backend& backend, const Library& library = linked_library());

  // Told of kReferencePhase when the oracle is asked, and of kCheckingPhase when it has answered.
  std::function<void(const char* phase)> on_phase = [](const char*) {};

 private:
  void run(const Problem& problem, Backend& backend, const Library& library, CheckResult& result);
  // What differed from the result's checksums; empty if nothing did.
  std::string rerun(Case& launched, CheckResult& result) const;
  const OracleTensors& expected(const Problem& problem, const HostTensors& inputs, const HostTensors& intermediates,
                                OracleDepth depth);
  CheckOptions options_;
  std::string oracle_key_;
  OracleDepth oracle_depth_ = OracleDepth::values;
  OracleTensors oracle_;
};

}  // namespace lrnnx::bench
