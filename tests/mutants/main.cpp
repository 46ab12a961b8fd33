// lrnnx-mutants: does the checker catch every planted fault, and pass what is right? Runs suites against the plain scan
// of scan.cpp with one fault after the other, prints a table, and fails if a fault is missed or a right scan is blamed.
//
//   lrnnx-mutants [--rights SEEDS] [SUITE ...]      by default check-quick and check-exact
//
// --rights checks no fault, but the plain scan and the linked library with the seeds 0 to SEEDS - 1.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "harness/backend.h"
#include "harness/check.h"
#include "harness/fill.h"
#include "harness/suite.h"
#include "tests/mutants/scan.h"

namespace lrnnx::bench {
namespace {

using mutants::Bug;

enum class Where { anywhere, backward, halves };

struct Fault {
  Bug bug;
  Where where;
  const char* text;
};
constexpr Fault kFaults[] = {
#define LRNNX_BUG(name, where, text) {Bug::name, Where::where, text},
#include "tests/mutants/bugs.def"
};

// The functions of the scan.
const Library& mutant() {
  static const Library library = [] {
    Library made = linked_library();
    made.name = "the scan of lrnnx-mutants";
    made.selective_scan_memory = mutants::memory;
    made.selective_scan_configuration = mutants::configuration;
    made.selective_scan_forward = mutants::forward;
    made.selective_scan_backward = mutants::backward;
    return made;
  }();
  return library;
}

// A fault that so many problems have shown is not looked for any more.
constexpr int kEnough = 5;

struct Sighting {
  int problems = 0, caught = 0;
  std::string suite, line, reason;  // of the first
  double rho = 0;                   // the largest
};

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

bool is_fault(const CheckResult& result) { return result.status == Status::failed || result.status == Status::error; }

double worst_rho(const CheckResult& result) {
  double worst = 0;
  for (const Comparison& tensor : result.tensors) worst = std::max(worst, tensor.rho);
  return worst;
}

class Hunt {
 public:
  explicit Hunt(bool rights_only) : rights_only_(rights_only) {}

  void run(const std::string& suite, uint64_t seed) {
    Selection selection;
    selection.suite = suite;
    selection.backend = "cpu";
    selection.seed = seed;
    std::vector<Problem> problems = select_problems(selection);
    // Shuffled, so that every variant comes early.
    std::ranges::sort(problems, {}, [](const Problem& candidate) { return hash_text(to_string(candidate)); });
    for (const Problem& problem : problems) {
      const CheckResult right = checker_.check(problem, backend("cpu"));
      if (right.status == Status::skipped) continue;
      ran_ += 2;
      // Where a right scan fails, a fault proves nothing.
      const bool sound = passes_right(right, problem);
      if (sound && !rights_only_)
        for (const Fault& fault : kFaults) try_fault(fault, suite, problem);
    }
  }

  int report() const {
    int missed = 0;
    if (!rights_only_) {
      fmt::print(
          "| fault | caught by | in | worst ρ, or what else is wrong | first problem that shows it "
          "|\n|---|---|---|---|---|\n");
      for (const Fault& fault : kFaults) {
        if (fault.bug == Bug::none) continue;
        const auto found = seen_.find(fault.bug);
        const Sighting seen = found == seen_.end() ? Sighting{} : found->second;
        missed += seen.caught == 0;
        fmt::print("| {} | {} | {} | {} | {} |\n", fault.text, seen.caught ? seen.suite : "**nothing**",
                   fmt::format("{} of {}", seen.caught, seen.problems),
                   seen.rho > 1  ? fmt::format("{:.3g}", seen.rho)
                   : seen.caught ? first_line(seen.reason)
                                 : "",
                   seen.caught ? "`" + seen.line + "`" : "");
      }
    }
    fmt::print("{} right results checked, {} blamed; {} of {} faults missed\n", ran_, blamed_, missed,
               rights_only_ ? 0 : std::size(kFaults) - 1);
    return missed == 0 && blamed_ == 0 && ran_ > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
  }

 private:
  bool passes_right(const CheckResult& library, const Problem& problem) {
    mutants::plant(Bug::none);
    const CheckResult plain = checker_.check(problem, backend("cpu"), mutant());
    bool sound = true;
    for (const auto& [who, result] : {std::pair{"the library", &library}, std::pair{"the plain scan", &plain}}) {
      if (!is_fault(*result)) continue;
      sound = false;
      ++blamed_;
      fmt::print("right, but {}: {}, {}\n  {}\n", to_string(result->status), who, to_string(problem), result->reason);
    }
    return sound;
  }

  void try_fault(const Fault& fault, const std::string& suite, const Problem& problem) {
    Sighting& seen = seen_[fault.bug];
    if (fault.bug == Bug::none || seen.caught >= kEnough) return;
    if (fault.where == Where::backward && problem.direction != "backward") return;
    if (fault.where == Where::halves && storage_of(problem.dtype) == Storage::f32) return;
    mutants::plant(fault.bug);
    // What shows in the eleventh launch takes ten reruns.
    CheckResult result =
        (fault.bug == Bug::eleventh_launch ? patient_ : checker_).check(problem, backend("cpu"), mutant());
    ++seen.problems;
    if (!is_fault(result)) return;
    seen.rho = std::max(seen.rho, worst_rho(result));
    if (seen.caught++ > 0) return;
    seen.suite = suite;
    seen.line = to_string(problem);
    seen.reason = result.reason;
  }

  bool rights_only_;
  Checker checker_, patient_{CheckOptions{.reruns = 10}};
  std::map<Bug, Sighting> seen_;
  int ran_ = 0, blamed_ = 0;
};

int run(const std::vector<std::string>& arguments) {
  std::vector<std::string> suites;
  std::optional<uint64_t> seeds;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--rights" && i + 1 < arguments.size())
      seeds = parse_seed(arguments[++i], "--rights");
    else
      suites.push_back(arguments[i]);
  }
  if (suites.empty()) suites = {"check-quick", "check-exact"};
  Hunt hunt(seeds.has_value());
  for (uint64_t seed = 0; seed < seeds.value_or(1); ++seed)
    for (const std::string& suite : suites) hunt.run(suite, seed);
  return hunt.report();
}

}  // namespace
}  // namespace lrnnx::bench

int main(int argc, char** argv) {
  try {
    return lrnnx::bench::run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    fmt::print(stderr, "lrnnx-mutants: {}\n", error.what());
    return 2;
  }
}
