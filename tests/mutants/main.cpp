// lrnnx-mutants: does the checker catch every planted fault, and pass what is right? Runs suites against the plain scan
// with one fault after the other, prints a table, and fails if a fault is missed or a right scan is blamed.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "harness/backend.h"
#include "harness/check.h"
#include "harness/error.h"
#include "harness/fill.h"
#include "harness/signals.h"
#include "harness/suite.h"
#include "harness/words.h"
#include "tests/mutants/scan.h"

namespace lrnnx::bench {
namespace {

using mutants::Bug;

enum class Where { anywhere, backward, halves, cuda };

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
    made.selective_scan = {.memory = mutants::memory,
                           .configuration = mutants::configuration,
                           .configuration_keys = mutants::configuration_keys,
                           .forward = mutants::forward,
                           .backward = mutants::backward};
    return made;
  }();
  return library;
}

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

// In the order of a hash, and each fill in turn, so that every variant and whatever only some inputs show comes early.
std::vector<Problem> shuffled(std::vector<Problem> problems) {
  std::ranges::sort(problems, {}, [](const Problem& problem) { return hash_text(to_string(problem)); });
  std::map<std::string, std::vector<Problem>> of_fill;
  for (const Problem& problem : problems) of_fill[problem.fill].push_back(problem);
  std::vector<Problem> order;
  for (size_t turn = 0; order.size() < problems.size(); ++turn)
    for (const auto& [fill, those] : of_fill)
      if (turn < those.size()) order.push_back(those[turn]);
  return order;
}

class Hunt {
 public:
  Hunt(Backend& backend, bool rights_only, int enough) : backend_(backend), enough_(enough) {
    for (const Fault& fault : kFaults)
      if (!rights_only && fault.bug != Bug::none && (fault.where != Where::cuda || backend.name() == "cuda"))
        faults_.push_back(fault);
  }

  void run(const std::string& suite, uint64_t seed) {
    Selection selection;
    selection.suite = suite;
    selection.backend = backend_.name();
    selection.seed = seed;
    for (const Problem& problem : shuffled(select_problems(selection))) {
      if (stop_.signal() != 0) return;
      std::vector<Fault> wanted;
      std::ranges::copy_if(faults_, std::back_inserter(wanted),
                           [&](const Fault& fault) { return is_wanted(fault, problem); });
      if (wanted.empty() && !faults_.empty()) continue;
      // Where a right scan fails, a fault proves nothing.
      if (!passes_right(problem)) continue;
      for (const Fault& fault : wanted) try_fault(fault, suite, problem);
    }
  }

  int report() const {
    size_t missed = 0;
    if (!faults_.empty())
      fmt::print(
          "| fault | caught by | in | worst ρ, or what else is wrong | first problem that shows it "
          "|\n|---|---|---|---|---|\n");
    for (const Fault& fault : faults_) {
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
    fmt::print("{}{} ({}): {} right results checked, {} blamed", faults_.empty() ? "" : "\n", backend_.name(),
               backend_.device_name(), ran_, blamed_);
    if (!faults_.empty()) fmt::print("; {} of {} faults missed", missed, faults_.size());
    if (stop_.signal() != 0) {
      fmt::print("; ended by a signal before all was looked at\n");
      return 128 + stop_.signal();
    }
    fmt::print("\n");
    return missed == 0 && blamed_ == 0 && ran_ > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
  }

 private:
  bool is_wanted(const Fault& fault, const Problem& problem) const {
    const auto found = seen_.find(fault.bug);
    if (found != seen_.end() && found->second.caught >= enough_) return false;
    if (fault.where == Where::backward && problem.direction != "backward") return false;
    return fault.where != Where::halves || storage_of(problem.dtype) != Storage::f32;
  }

  // Whether the library and the plain scan were run and not blamed.
  bool passes_right(const Problem& problem) {
    const auto passes = [&](const char* who, const Library& library) {
      const CheckResult result = checker_.check(problem, backend_, library);
      if (result.status == Status::skipped) return false;
      ++ran_;
      if (!is_fault(result)) return true;
      ++blamed_;
      fmt::print("right, but {}: {}, {}\n  {}\n", to_string(result.status), who, to_string(problem), result.reason);
      return false;
    };
    mutants::plant(Bug::none);
    const bool sound = passes("the library", linked_library());
    return passes("the plain scan", mutant()) && sound;
  }

  void try_fault(const Fault& fault, const std::string& suite, const Problem& problem) {
    Sighting& seen = seen_[fault.bug];
    mutants::plant(fault.bug);
    // What shows in the eleventh launch, or by chance, takes ten reruns.
    const bool takes_reruns = fault.bug == Bug::eleventh_launch || fault.bug == Bug::cuda_atomics;
    const CheckResult result = (takes_reruns ? patient_ : checker_).check(problem, backend_, mutant());
    ++seen.problems;
    if (!is_fault(result)) return;
    seen.rho = std::max(seen.rho, worst_rho(result));
    if (seen.caught++ > 0) return;
    seen.suite = suite;
    seen.line = to_string(problem);
    seen.reason = result.reason;
  }

  Backend& backend_;
  StopOnSignal stop_;
  int enough_;
  std::vector<Fault> faults_;  // that are looked for
  Checker checker_, patient_{CheckOptions{.reruns = 10}};
  std::map<Bug, Sighting> seen_;
  int ran_ = 0, blamed_ = 0;
};

int run(int argc, char** argv) {
  CLI::App app(
      "lrnnx-mutants: does the checker catch every fault that is planted in a plain scan, and pass what is right?",
      "lrnnx-mutants");
  std::vector<std::string> suites = {"check-quick", "check-exact"};
  std::string backend_name = "cpu";
  uint64_t seeds = 0, first_seed = 0;
  int enough = 5;
  app.add_option("SUITE", suites, "Where to look for the faults, one suite after the other")->capture_default_str();
  app.add_option("--backend", backend_name, "Where the scans run: " + join_or(backend_names()))->capture_default_str();
  app.add_option("--enough", enough, "A fault that so many problems have shown is not looked for any further")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--rights", seeds, "Plant nothing: check the plain scan and the library with so many seeds")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--first-seed", first_seed, "The only seed, or the first of --rights")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // or --help
    return app.exit(error) == 0 ? EXIT_SUCCESS : static_cast<int>(ExitCode::usage);
  }

  Backend& chosen = backend(backend_name);
  if (const auto reason = chosen.unavailable()) {
    fmt::print("skipped: {}\n", *reason);
    return static_cast<int>(ExitCode::nothing_ran);
  }
  Hunt hunt(chosen, seeds > 0, enough);
  for (uint64_t seed = first_seed; seed < first_seed + std::max<uint64_t>(seeds, 1); ++seed)
    for (const std::string& suite : suites) hunt.run(suite, seed);
  return hunt.report();
}

}  // namespace
}  // namespace lrnnx::bench

int main(int argc, char** argv) {
  try {
    return lrnnx::bench::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "lrnnx-mutants: {}\n", error.what());
    return static_cast<int>(lrnnx::bench::ExitCode::usage);
  }
}
