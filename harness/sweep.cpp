// `sweep`: from a selection of problems to a report.
#include "harness/sweep.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <memory>
#include <span>

#include "harness/devices.h"
#include "harness/environment.h"
#include "harness/error.h"
#include "harness/executor.h"
#include "harness/files.h"
#include "harness/fill.h"
#include "harness/flags.h"
#include "harness/journal.h"
#include "harness/output.h"
#include "harness/progress.h"
#include "harness/signals.h"
#include "harness/sinks.h"
#include "harness/wall_time.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

using Rows = std::vector<Json>;

bool is_faulty(const Json& row) {
  const Verdict verdict = verdict_of(row);
  return verdict == Verdict::failed || verdict == Verdict::error || verdict == Verdict::invalid;
}

// Of an earlier sweep that was complete, where this one is not: it would be lost.
void keep_complete(const std::string& path) {
  if (!is_place_for_file(path) || !std::filesystem::exists(path)) return;
  try {
    if (!read_results(path).complete) return;
  } catch (const Error&) {  // of something else, which was to be written over
    return;
  }
  std::error_code error;
  std::filesystem::rename(path, path + ".old", error);
  if (error) throw SystemError(fmt::format("cannot rename {} to {}.old: {}", path, path, error.message()));
  write_stderr(fmt::format("{} was complete, and this sweep is not: kept as {}.old\n", path, path));
}

std::optional<Journal> begin_journal(const std::string& path, const Plan& plan, const SweepOptions& options) {
  if (path.empty()) return std::nullopt;
  const bool exists = std::filesystem::exists(path);
  if (exists && options.resume) return Journal::open(path, plan, options.allow_mixed);
  if (options.resume && !options.quiet)
    write_stderr(fmt::format("--resume: there is no journal {}: the sweep starts from the beginning\n", path));
  if (exists && !options.quiet)
    write_stderr(fmt::format("an earlier sweep left {}: kept as {}.old (--resume would continue it)\n", path, path));
  return Journal::create(path, plan);
}

// Where the journal lies if no flag says so; empty: there is none.
std::string journal_path(const SweepOptions& options) {
  if (!options.journal.empty()) return options.journal;
  if (!options.out.empty()) return options.out + "/sweep.jsonl";
  if (!is_place_for_file(options.json)) return "";
  return options.json + (options.json.ends_with(".json") ? "l" : ".jsonl");
}

// Of all shards.
std::vector<Problem> select(const SweepOptions& options, std::span<const Implementation> implementations) {
  std::vector<Problem> problems = select_problems(options.selection, implementations);
  if (!options.direction.empty()) {
    std::erase_if(problems, [&](const Problem& problem) { return problem.direction != options.direction; });
    if (problems.empty())
      throw UsageError(fmt::format("--direction {}: no problem of the selection has it", options.direction));
  }
  return problems;
}

// Makes the directory of --out. Throws if something could not be written later, or would be overwritten.
void prepare_places(const SweepOptions& options) {
  std::vector<std::string> places = {options.json, options.csv, options.markdown, journal_path(options)};
  if (!options.out.empty()) {
    std::error_code error;
    std::filesystem::create_directories(options.out, error);
    if (error) throw SystemError(fmt::format("--out {}: {}", options.out, error.message()));
    places.push_back(options.out + "/sweep.json");
    places.push_back(options.out + "/sweep.csv");
  }
  require_places(places);
}

Shard parse_shard(const std::string& text) {
  try {
    if (const size_t slash = text.find('/'); slash != std::string::npos) {
      const Shard shard{parse_integer(text.substr(0, slash), ""), parse_integer(text.substr(slash + 1), "")};
      if (shard.index <= shard.count && shard.count <= kMostShards) return shard;
    }
  } catch (const UsageError&) {  // says less
  }
  throw UsageError(
      fmt::format("--shard '{}': expected INDEX/COUNT with 1 <= INDEX <= COUNT <= {}, such as 2/4", text, kMostShards));
}

Rows rows_of(const Problem& problem, const Rows& rows) {
  Rows own;
  std::ranges::copy_if(rows, std::back_inserter(own),
                       [line = to_string(problem)](const Json& row) { return row.at("problem") == line; });
  return own;
}

// What else ran besides this program: where it lies, and a hash of what was in the file. Null if nothing did.
Json libraries_json(std::span<const Implementation> implementations) {
  Json libraries;
  for (const Implementation& implementation : implementations) {
    if (!implementation.file) continue;
    libraries[implementation.name] = {
        {"path", implementation.file->path},
        {"hash", fmt::format("{:016x}", hash_text(read_file(implementation.file->path)))}};
  }
  return libraries;
}

// A contest of which the journal has only a part is held again: its rows are of samples taken in turns.
bool has_all(const Journal& journal, const std::vector<Problem>& contest) {
  return std::ranges::all_of(contest,
                             [&](const Problem& problem) { return journal.done().contains(to_string(problem)); });
}

Plan plan_of(const std::vector<Problem>& problems, const SweepOptions& options,
             std::span<const Implementation> implementations) {
  Plan plan{.environment = environment(), .timing = to_json(options.run), .problems = {}};
  plan.environment["program"]["libraries"] = libraries_json(implementations);
  for (const Problem& problem : problems) plan.problems.push_back(to_string(problem));
  return plan;
}

}  // namespace

std::vector<Problem> share_of(const std::vector<Problem>& problems, const Shard& shard) {
  if (shard.count == 1) return problems;
  const std::vector<std::vector<Problem>> contests = contests_of(problems);
  std::vector<Problem> share;
  for (size_t i = 0; i < contests.size(); ++i)
    if (static_cast<int64_t>(i / kDealtTogether) % shard.count == shard.index - 1)
      share.insert(share.end(), contests[i].begin(), contests[i].end());
  return share;
}

Swept sweep(const std::vector<Problem>& problems, const SweepOptions& options, const std::string& journal_file,
            std::span<const Implementation> implementations) {
  const StopOnSignal stop;
  const auto start = std::chrono::steady_clock::now();
  take_wall_time();  // from here on
  Executor::Options how;
  how.run = options.run;
  how.in_process = options.in_process;
  how.patience_seconds = options.patience_seconds;
  Executor executor(how, implementations, problems.empty() ? "" : problems.front().backend);
  const Plan plan = plan_of(problems, options, implementations);
  std::optional<Journal> journal = begin_journal(journal_file, plan, options);

  Swept swept;
  Results& results = swept.results;
  results.environment = journal ? journal->environment() : plan.environment;
  results.timing = plan.timing;
  if (options.shard.count > 1) results.shards.emplace_back(options.shard.index, options.shard.count);
  if (journal) executor.learn(journal->ceilings());
  Progress progress(problems.size(), options.quiet, options.label);
  executor.on_phase = [&](const char* phase) { progress.doing(phase); };
  const auto begin = std::chrono::steady_clock::now();
  size_t looked_at = 0;
  bool anything_ran = false;
  for (const std::vector<Problem>& contest : contests_of(problems)) {
    looked_at += contest.size();
    const bool done = journal && has_all(*journal, contest);
    std::vector<Problem> to_do;
    for (const Problem& problem : contest) {
      const std::string line = to_string(problem);
      if (!done) {
        to_do.push_back(problem);
        continue;
      }
      progress.skip();
      const Rows& rows = journal->done().at(line);
      results.rows.insert(results.rows.end(), rows.begin(), rows.end());
    }
    if (to_do.empty()) continue;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    if (stop.signal() != 0 || (options.budget_seconds && elapsed.count() >= *options.budget_seconds)) {
      results.complete = false;
      continue;  // an earlier run may have done a later one
    }
    progress.start(to_do);
    const Rows rows = executor.run(to_do);
    // Before it is announced: whatever was announced is safe. Not after a signal: its samples may be fewer than asked.
    if (stop.signal() != 0)
      results.complete = false;
    else if (journal)
      for (const Problem& problem : to_do)
        journal->add(to_string(problem), rows_of(problem, rows), executor.ceilings());
    for (const Json& row : rows) {
      anything_ran = anything_ran || verdict_of(row) != Verdict::skipped;
      results.rows.push_back(row);
      progress.finish(row);
    }
    if (options.fail_fast && std::ranges::any_of(rows, is_faulty)) {
      results.complete = results.complete && looked_at == problems.size();
      break;
    }
  }
  add_speedups(results.rows);
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  results.wall_time = with_total(take_wall_time(), wall.count());
  if (!options.quiet && anything_ran)
    write_stderr(fmt::format("{}wall time {}\n", options.label, wall_time_text(results.wall_time)));
  results.ceilings = executor.ceilings();
  swept.signal = stop.signal();
  return swept;
}

int exit_code_of(const Swept& swept) {
  if (swept.signal != 0) return 128 + swept.signal;
  // Skips count only if nothing else happened.
  for (const ExitCode code : {ExitCode::wrong_numbers, ExitCode::system, ExitCode::usage, ExitCode::ok})
    if (std::ranges::any_of(swept.results.rows,
                            [code](const Json& row) { return row.at("exit_code") == static_cast<int>(code); }))
      return static_cast<int>(code);
  return static_cast<int>(ExitCode::nothing_ran);
}

int run_sweep(const SweepOptions& options) {
  const std::vector<Implementation> implementations =
      find_implementations(options.selection.libraries, options.patience_seconds);
  const std::vector<Problem> all = select(options, implementations), problems = share_of(all, options.shard);
  const std::string journal = journal_path(options);
  if (options.resume && journal.empty())
    throw UsageError("--resume: there is no journal without --journal, --out or --json FILE");
  if (options.dry_run) {
    const bool names_journal = options.resume && is_place_for_file(options.json);
    if ((!options.json.empty() && !names_journal) || !options.csv.empty() || !options.markdown.empty())
      throw UsageError("--dry-run: there are no results for --json, --csv or --markdown; it prints the problems");
    std::optional<Journal> done;
    if (options.resume && !options.devices.empty())
      throw UsageError("--dry-run: with --resume it takes no --devices, of which each has its own journal");
    if (options.resume && std::filesystem::exists(journal))
      done.emplace(Journal::read(journal, plan_of(problems, options, implementations), options.allow_mixed));
    std::string lines;
    for (const std::vector<Problem>& contest : contests_of(problems)) {
      if (done && has_all(*done, contest)) continue;
      for (const Problem& problem : contest) lines += to_string(problem) + '\n';
    }
    write_stdout(lines);
    return static_cast<int>(ExitCode::ok);
  }
  if (!options.against.empty()) {
    const auto is_against = [&](const Problem& problem) { return implementation_of(problem) == options.against; };
    if (std::ranges::none_of(problems, is_against))
      throw UsageError(fmt::format("--against {}: no selected problem is of this implementation", options.against));
    if (std::ranges::all_of(problems, is_against))
      throw UsageError(fmt::format("--against {}: every selected problem is of this implementation", options.against));
  }
  prepare_places(options);
  std::optional<Results> baseline;
  if (!options.baseline.empty()) {
    baseline = read_results(options.baseline);
    if (!options.allow_mixed)
      require_same_machine(baseline->environment, environment(), options.baseline, "this sweep");
  }

  if (options.devices.size() > 1 && !options.quiet &&
      std::ranges::any_of(problems, [](const Problem& problem) { return problem.backend == "cpu"; }))
    write_stderr("--devices: problems of backend cpu share the processor, and disturb each other's times\n");
  const Swept swept =
      options.devices.empty() ? sweep(problems, options, journal, implementations) : sweep_on_devices(all, options);
  const Results& results = swept.results;
  const auto invalid =
      std::ranges::count_if(results.rows, [](const Json& row) { return verdict_of(row) == Verdict::invalid; });
  if (invalid > 0) write_stderr(fmt::format("{} of {} rows invalid\n", invalid, results.rows.size()));
  int exit_code = exit_code_of(swept);
  std::string table = table_text(results);
  const auto add_comparisons = [&](const std::string& against, const Comparisons& comparisons) {
    table += fmt::format("\nagainst {}:\n{}", against, table_text(comparisons));
    if (exit_code == 0) exit_code = exit_code_of(comparisons, options.strict);
  };
  if (baseline) add_comparisons(options.baseline, compare_results(*baseline, results, options.threshold));
  if (!options.against.empty())
    add_comparisons(options.against, compare_implementations(results, options.against, options.threshold));
  if (!results.complete) {
    keep_complete(options.json);
    if (!options.out.empty()) keep_complete(options.out + "/sweep.json");
  }
  const std::string json = json_text(results), csv = csv_text(results);
  std::vector<Output> outputs;
  if (!options.json.empty()) outputs.push_back({options.json, json});
  if (!options.csv.empty()) outputs.push_back({options.csv, csv});
  if (!options.markdown.empty()) outputs.push_back({options.markdown, markdown_text(results)});
  if (!options.out.empty()) {
    outputs.push_back({options.out + "/sweep.json", json});
    outputs.push_back({options.out + "/sweep.csv", csv});
  }
  const auto places = {options.json, options.csv, options.markdown};
  if (std::ranges::find(places, "-") == places.end()) outputs.push_back({"-", table});
  write_outputs(std::move(outputs));
  // All of it is in the results now; a journal that was asked for stays.
  if (results.complete && options.journal.empty() && !journal.empty()) std::filesystem::remove(journal);
  if (results.complete) remove_parts(options);
  return exit_code;
}

void add_sweep_command(CLI::App& app, int& exit_code) {
  struct Flags {
    SweepOptions options;
    bool cold = false, warm = false, keep_going = false;
    std::string devices;
    std::string device_part;
  };
  auto flags = std::make_shared<Flags>();
  SweepOptions* const options = &flags->options;
  CLI::App* command = app.add_subcommand("sweep", "Check problems against the oracle and time what passed");
  add_selection_flags(*command, options->selection, "quickstart");
  command->add_option("--direction", options->direction, "Only this direction")
      ->check(CLI::IsMember({"forward", "backward"}));
  command->add_flag("!--no-check", options->run.check, "Time without asking the oracle first");
  command->add_flag("--cold", flags->cold, "Flush the caches before each sample (default)");
  command->add_flag("--warm", flags->warm, "Leave in the caches what the launch before left; with --cold: both");
  command->add_option("--min-samples", options->run.measure.min_samples, "Samples at least")
      ->check(whole_number(1, 1'000'000'000))
      ->capture_default_str();
  command->add_option("--min-time", options->run.measure.min_seconds, "Seconds of samples at least")
      ->check(seconds(true))
      ->capture_default_str();
  command->add_option("--warmup", options->run.measure.warmup, "Launches before the first sample")
      ->type_name("N")
      ->check(whole_number(1, 1'000'000'000))
      ->capture_default_str();
  add_percent_flag(
      *command, "--max-noise", options->run.measure.max_noise,
      "Percent of relative standard deviation that is low enough to stop sampling; else once it has settled");
  command->add_option("--timeout", options->run.measure.timeout_seconds, "Seconds to spend on one measurement at most")
      ->check(seconds(false))
      ->capture_default_str();
  CLI::Option* const processes =
      command
          ->add_option(
              "--processes", options->run.processes,
              fmt::format("Processes that time a problem of at most {:g} MiB in turns; default: {} on a GPU, 1 "
                          "on the processor",
                          kSmallBytes / (1 << 20), kProcesses))
          ->type_name("N")
          ->check(whole_number(1, kMostProcesses));
  add_patience_flag(*command, options->patience_seconds);
  add_duration_flag(*command, "--budget", options->budget_seconds, "Start no problem after so long, such as 60s or 2h");
  CLI::Option* const fail_fast = command->add_flag("--fail-fast", options->fail_fast, "Stop at the first fault");
  command->add_flag("--keep-going", flags->keep_going, "A fault costs only its own rows (default)")
      ->excludes(fail_fast);
  command
      ->add_option("--journal", options->journal,
                   "Where each problem's result is written at once; default: beside --out or --json, until those are "
                   "complete")
      ->check(path())
      ->type_name("FILE");
  CLI::Option* const resume =
      command->add_flag("--resume", options->resume, "Continue the sweep that the journal is of");
  command
      ->add_option_function<std::string>(
          "--shard", [options](const std::string& text) { options->shard = parse_shard(text); },
          "Only every COUNT-th pair of problems, beginning with the INDEX-th; see merge")
      ->type_name("INDEX/COUNT");
  command
      ->add_option("--devices", flags->devices,
                   "Sweep on these GPUs of this machine at once, each with its share of the problems: all, or numbers "
                   "such as 0,2; with --out")
      ->type_name("all|N,N");
  command->add_option("--device-part", flags->device_part)->group("");  // which of them this process is for
  command->add_flag("--dry-run", options->dry_run,
                    "Print the problems, with --resume those that are left, and run none");
  command
      ->add_flag("--profile", options->run.profile,
                 "For a profiler: launch each problem once, in this process, unchecked and untimed")
      ->excludes(resume)
      ->excludes(processes);
  command->add_flag("--in-process", options->in_process, "Start no child process: for a debugger")->excludes(processes);
  command
      ->add_option("--json", options->json,
                   "Write everything, with every sample, to this file; - is stdout, in the table's place")
      ->check(path());
  command->add_option("--csv", options->csv, "Write one line a row to this file; - likewise")->check(path());
  command->add_option("--markdown", options->markdown, "Write the table as Markdown to this file; - likewise")
      ->check(path());
  command->add_option("--out", options->out, "Write sweep.json and sweep.csv into this directory")->check(path());
  command->add_flag("-q,--quiet", options->quiet, "No progress on stderr");
  command->add_option("--baseline", options->baseline, "Compare with these results (see compare)")
      ->check(path())
      ->type_name("FILE");
  command
      ->add_option("--against", options->against,
                   "Compare the other implementations with this one, with which they take turns (see compare)")
      ->type_name("NAME");
  add_threshold_flag(*command, options->threshold);
  command->add_flag("--strict", options->strict, "With --baseline or --against: exit with 6 if a row is AMBIGUOUS");
  command->add_flag("--allow-mixed", options->allow_mixed,
                    "With --baseline and --resume: even if that ran on another machine or with another build");
  command->callback([flags, &exit_code] {
    if (flags->options.strict && flags->options.baseline.empty() && flags->options.against.empty())
      throw UsageError("--strict: there is nothing to compare without --baseline or --against");
    std::vector<CacheState>& states = flags->options.run.states;
    states.clear();
    if (flags->cold || !flags->warm) states.push_back(CacheState::cold);
    if (flags->warm) states.push_back(CacheState::warm);
    if (flags->options.run.profile) flags->options.in_process = true;
    if (!flags->devices.empty()) {
      if (flags->options.out.empty() || !flags->options.journal.empty())
        throw UsageError("--devices: needs --out, in which each device has its own journal, and takes no --journal");
      if (flags->device_part.empty())
        flags->options.devices = parse_devices(flags->devices);
      else
        flags->options = options_of_part(flags->options, parse_device_part(flags->device_part));
    }
    exit_code = run_sweep(flags->options);
  });
}

}  // namespace lrnnx::bench
