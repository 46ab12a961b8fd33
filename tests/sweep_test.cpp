// Problems run in this process on the cpu backend, and what the outputs say of rows made by hand.
#include "harness/sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "harness/backend.h"
#include "harness/error.h"
#include "harness/sinks.h"

namespace lrnnx::bench::sweep_test {
namespace {

Problem tiny(const std::string& direction = "forward", const std::string& backend = "cpu") {
  return parse_problem("selective_scan.mamba.f32." + direction + "." + backend +
                       " batch=2 dim=8 seqlen=33 dstate=4 options=B,C,D,z,delta_bias,delta_softplus");
}

RunOptions quick() {
  RunOptions options;
  options.measure.min_samples = 3;
  options.measure.min_seconds = 0;
  options.measure.max_noise = 1e9;  // three samples are enough
  return options;
}

// As a sweep would fill it in, with samples of 1, 2 and 4 ms.
Row timed_row(Problem problem) {
  Row row;
  row.problem = problem;
  row.verdict = Verdict::passed;
  row.exit_code = ExitCode::ok;
  row.measurement = Measurement{.samples_ms = {2, 1, 4}, .rounds = {2, 1}};
  row.summary = summarize(row.measurement->samples_ms);
  row.cost = cost(problem);
  row.floor = Floor{.ms = 0.5, .binds = "DRAM"};
  row.memory = lrnnx_memory{.saved_bytes = 64, .workspace_bytes = 128};
  row.configuration = "threads=2,tile=8";
  return row;
}

Row untimed_row(Problem problem, Verdict verdict, const std::string& reason, ExitCode exit_code = ExitCode::ok) {
  Row row;
  row.problem = problem;
  row.verdict = verdict;
  row.exit_code = exit_code;
  row.reason = reason;
  row.cost = cost(problem);
  return row;
}

Results results_of(const std::vector<Row>& rows) {
  Results results;
  results.environment = {{"program", {{"version", "test"}}}};
  results.timing = {{"min_samples", 3}};
  for (const Row& row : rows) results.rows.push_back(to_json(row));
  return results;
}

int exit_code_of(const std::vector<Row>& rows) { return bench::exit_code_of(Swept{.results = results_of(rows)}); }

Value value_of(const std::string& tag, const Row& row) {
  const auto metric = std::ranges::find_if(metrics(), [&](const Metric& m) { return m.tag == tag; });
  return metric == metrics().end() ? Value() : metric->compute(row);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::stringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Fields of one line of CSV.
std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"')
      fields.back() += line[i++];
    else if (line[i] == '"')
      quoted = !quoted;
    else if (line[i] == ',' && !quoted)
      fields.emplace_back();
    else
      fields.back() += line[i];
  }
  return fields;
}

TEST(Runner, ChecksThenTimesBothDirectionsOnTheCpu) {
  Runner runner(quick());
  for (const char* direction : {"forward", "backward"}) {
    const std::vector<Row> rows = runner.run(tiny(direction));
    ASSERT_EQ(rows.size(), 1u);
    const Row& row = rows[0];
    EXPECT_EQ(row.verdict, Verdict::passed) << row.reason;
    ASSERT_TRUE(row.check.has_value());
    EXPECT_FALSE(row.check->tensors.empty());
    ASSERT_TRUE(row.measurement.has_value());
    EXPECT_EQ(row.measurement->samples_ms.size(), 3u);
    EXPECT_TRUE(std::ranges::all_of(row.measurement->samples_ms, [](double ms) { return ms > 0; }));
    ASSERT_TRUE(row.floor.has_value());
    EXPECT_GT(row.floor->ms, 0);
    EXPECT_FALSE(row.configuration.empty());
  }
  EXPECT_EQ(runner.ceilings().count("cpu"), 1u);
}

bool is_tired = false;
lrnnx_status tired_forward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args) {
  return is_tired ? LRNNX_CUDA_ERROR : lrnnx_selective_scan_forward(problem, args);
}

TEST(Runner, WhatFailsInTheSecondCacheStateLeavesTheRowOfTheFirst) {
  Library tired = linked_library();
  tired.selective_scan.forward = tired_forward;
  RunOptions options = quick();
  options.check = false;
  options.states = {CacheState::cold, CacheState::warm};
  Runner runner(options, {}, {&tired});
  runner.on_round = [](int stage) { is_tired = stage == 2; };
  const std::vector<Row> rows = runner.run(tiny());
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].cache, CacheState::cold);
  EXPECT_EQ(rows[0].verdict, Verdict::unchecked) << rows[0].reason;
  EXPECT_TRUE(rows[0].summary);
  EXPECT_EQ(rows[1].cache, CacheState::warm);
  EXPECT_EQ(rows[1].verdict, Verdict::error);
  EXPECT_FALSE(rows[1].summary || rows[1].floor || rows[1].measurement) << "those of the cold state";
}

// What a kernel may do once nobody looks, or by what it finds.
int launches_left = 0;
enum class Laziness { after_launches, without_poison, scribbles_when_timed };
template <Laziness laziness>
lrnnx_status lazy_forward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args) {
  auto* const out = static_cast<float*>(args->out.data);
  const bool is_checked = launches_left-- > 0;
  if (laziness == Laziness::after_launches && !is_checked) return LRNNX_OK;
  if (laziness == Laziness::without_poison && !std::isnan(out[0])) return LRNNX_OK;
  const lrnnx_status status = lrnnx_selective_scan_forward(problem, args);
  if (laziness == Laziness::scribbles_when_timed && !is_checked) out[args->out.size] = 1;
  return status;
}

TEST(Runner, WhatIsTimedIsHeldAgainstWhatWasChecked) {
  RunOptions options = quick();
  options.states = {CacheState::warm};
  const std::pair<decltype(&lrnnx_selective_scan_forward), const char*> kCases[] = {
      {lazy_forward<Laziness::after_launches>, "is not what was checked"},
      {lazy_forward<Laziness::without_poison>, "what was checked"},
      {lazy_forward<Laziness::scribbles_when_timed>, "while it was timed it wrote outside out"}};
  for (const auto& [forward, reason] : kCases) {
    Library lazy = linked_library();
    lazy.selective_scan.forward = forward;
    launches_left = 2;  // the check and its rerun
    const std::vector<Row> rows = Runner(options, {}, {&lazy}).run(tiny());
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].verdict, Verdict::failed);
    EXPECT_EQ(rows[0].exit_code, ExitCode::wrong_numbers);
    EXPECT_NE(rows[0].reason.find(reason), std::string::npos) << rows[0].reason;
    EXPECT_FALSE(rows[0].summary) << "a time of wrong numbers";
  }
}

// Computes unless what it wrote last is still there, as far as it remembers.
lrnnx_status content_forward(const lrnnx_selective_scan_problem* problem,
                             const lrnnx_selective_scan_forward_args* args) {
  static float remembered = 0;
  auto* const out = static_cast<float*>(args->out.data);
  if (remembered != 0 && out[0] == remembered) return LRNNX_OK;
  const lrnnx_status status = lrnnx_selective_scan_forward(problem, args);
  remembered = out[0];
  return status;
}

TEST(Runner, WhoLeavesItAtTheAnswerThatHeFindsIsFoundOut) {
  RunOptions options = quick();
  options.measure.min_samples = 20;
  options.states = {CacheState::warm};
  Library content = linked_library();
  content.selective_scan.forward = content_forward;
  const std::vector<Row> rows = Runner(options, {}, {&content}).run(tiny());
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].verdict, Verdict::failed);
  EXPECT_NE(rows[0].reason.find("is not what was checked"), std::string::npos) << rows[0].reason;
}

// Two names for the same kernels, which note who was launched.
std::string launches;
template <char name>
lrnnx_status noted_forward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args) {
  if (launches.empty() || launches.back() != name) launches += name;
  return lrnnx_selective_scan_forward(problem, args);
}

template <char name>
const Library& noted() {
  static const Library library = [] {
    Library made = linked_library();
    made.name = std::string(1, name);
    made.selective_scan.forward = noted_forward<name>;
    return made;
  }();
  return library;
}

std::vector<Problem> contest(const Problem& problem, std::initializer_list<const char*> implementations) {
  std::vector<Problem> problems;
  for (const char* implementation : implementations) {
    problems.push_back(problem);
    problems.back().implementation = implementation;
  }
  return problems;
}

TEST(Runner, TimesTheImplementationsOfAProblemInTurns) {
  RunOptions options = quick();
  options.check = false;
  options.measure.min_seconds = 0.03;
  options.states = {CacheState::cold, CacheState::warm};
  Runner runner(options, {}, {&noted<'a'>(), &noted<'b'>()});
  const Problem problem =
      parse_problem("selective_scan.mamba.f32.forward.cpu batch=1 dim=64 seqlen=1024 dstate=16 options=B,C");
  launches.clear();
  const std::vector<Row> rows = runner.run(contest(problem, {"a", "b"}));
  ASSERT_EQ(rows.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(rows[i].problem.implementation, i < 2 ? "a" : "b");
    EXPECT_EQ(rows[i].cache, i % 2 ? CacheState::warm : CacheState::cold);
    EXPECT_EQ(rows[i].verdict, Verdict::unchecked) << rows[i].reason;
  }
  EXPECT_GE(launches.size(), 10u) << launches;
}

TEST(Runner, WhatOneImplementationDoesWrongCostsTheOthersNothing) {
  Library refusing = noted<'b'>();
  refusing.selective_scan.forward = [](const lrnnx_selective_scan_problem*, const lrnnx_selective_scan_forward_args*) {
    return LRNNX_CUDA_ERROR;
  };
  Library wrong = linked_library();
  wrong.name = "c";
  wrong.selective_scan.forward = [](const lrnnx_selective_scan_problem* problem,
                                    const lrnnx_selective_scan_forward_args* args) {
    const lrnnx_status status = lrnnx_selective_scan_forward(problem, args);
    static_cast<float*>(args->out.data)[0] += 1;
    return status;
  };
  Runner runner(quick(), {}, {&noted<'a'>(), &refusing, &wrong});
  const std::vector<Row> rows = runner.run(contest(tiny(), {"a", "b", "c"}));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].verdict, Verdict::passed) << rows[0].reason;
  EXPECT_EQ(rows[0].measurement->samples_ms.size(), 3u);
  EXPECT_EQ(rows[1].verdict, Verdict::error);
  EXPECT_EQ(rows[2].verdict, Verdict::failed);
}

TEST(Runner, AnUnknownImplementationIsAnErrorThatListsTheKnownOnes) {
  const std::vector<Row> rows = Runner(quick()).run(contest(tiny(), {"other"}));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].verdict, Verdict::error);
  EXPECT_EQ(rows[0].exit_code, ExitCode::usage);
  EXPECT_NE(rows[0].reason.find("implementation 'other': expected lrnnx"), std::string::npos) << rows[0].reason;
}

TEST(Runner, WithoutTheCheckARowIsTimedAndCalledUnchecked) {
  RunOptions options = quick();
  options.check = false;
  const std::vector<Row> rows = Runner(options).run(tiny());
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].verdict, Verdict::unchecked);
  EXPECT_FALSE(rows[0].check.has_value());
  EXPECT_TRUE(rows[0].measurement.has_value());
}

TEST(Runner, ColdAndWarmAreARowEach) {
  RunOptions options = quick();
  options.states = {CacheState::cold, CacheState::warm};
  const std::vector<Row> rows = Runner(options).run(tiny());
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].cache, CacheState::cold);
  EXPECT_EQ(rows[1].cache, CacheState::warm);
  EXPECT_TRUE(rows[0].floor.has_value());
  EXPECT_FALSE(rows[1].floor.has_value()) << "a warm time may beat what bounds a cold one";
}

TEST(Runner, WhatTheLibraryRefusesIsAnErrorOfItsRowAndStopsNoOther) {
  Problem refused = tiny();
  refused.configuration = "no_such_key=1";
  Runner runner(quick());
  const std::vector<Row> rows = runner.run(refused);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_TRUE(rows[0].verdict == Verdict::error || rows[0].verdict == Verdict::skipped);
  EXPECT_FALSE(rows[0].measurement.has_value());
  EXPECT_NE(rows[0].reason.find("no_such_key"), std::string::npos) << rows[0].reason;
  EXPECT_EQ(runner.run(tiny()).at(0).verdict, Verdict::passed);
}

TEST(Runner, AnAbsentDeviceIsSkippedInWordsAndNothingRan) {
  if (!backend("cuda").unavailable()) GTEST_SKIP() << "a CUDA device is there";
  const std::vector<Row> rows = Runner(quick()).run(tiny("forward", "cuda"));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].verdict, Verdict::skipped);
  EXPECT_NE(rows[0].reason.find("no CUDA device"), std::string::npos);
  EXPECT_EQ(exit_code_of(rows), static_cast<int>(ExitCode::nothing_ran));
}

TEST(Sweep, ExitCodeNamesTheWorstThatHappened) {
  const Row passed = timed_row(tiny());
  const Row failed = untimed_row(tiny(), Verdict::failed, "wrong", ExitCode::wrong_numbers);
  const Row broken = untimed_row(tiny(), Verdict::error, "broken", ExitCode::system);
  const Row refused = untimed_row(tiny(), Verdict::error, "refused", ExitCode::usage);
  const Row skipped = untimed_row(tiny(), Verdict::skipped, "no CUDA device", ExitCode::nothing_ran);
  Row mistrusted = passed;
  mistrusted.verdict = Verdict::mistrusted;
  mistrusted.exit_code = ExitCode::nothing_ran;
  EXPECT_EQ(exit_code_of(std::vector<Row>({passed})), 0);
  EXPECT_EQ(exit_code_of(std::vector<Row>({passed, skipped})), 0);
  EXPECT_EQ(exit_code_of(std::vector<Row>({passed, refused})), 2);
  EXPECT_EQ(exit_code_of(std::vector<Row>({passed, refused, broken})), 3);
  EXPECT_EQ(exit_code_of(std::vector<Row>({passed, broken, failed})), 1);
  EXPECT_EQ(exit_code_of(std::vector<Row>({passed, mistrusted})), 0);
  EXPECT_EQ(exit_code_of(std::vector<Row>({mistrusted, skipped})), 4);
  EXPECT_EQ(exit_code_of(std::vector<Row>({skipped})), 4);
  EXPECT_EQ(exit_code_of(std::vector<Row>({})), 4);
  EXPECT_EQ(bench::exit_code_of(Swept{.results = results_of({passed}), .signal = 15}), 143);
}

TEST(Sweep, AColdTimeBelowThatOfCopyingItsBytesIsInvalidAndFailsTheSweep) {
  Row row = timed_row(tiny());
  Ceilings ceilings;
  ceilings.copy_bytes_per_second = row.cost.bytes / 3e-3;  // the median is 2 ms
  const Row invalid = judged(row, ceilings);
  EXPECT_EQ(invalid.verdict, Verdict::invalid);
  EXPECT_NE(invalid.reason.find("3.0000 ms"), std::string::npos) << invalid.reason;
  EXPECT_EQ(exit_code_of(std::vector<Row>({timed_row(tiny()), invalid})), 1);

  row.cache = CacheState::warm;
  EXPECT_EQ(judged(row, ceilings).verdict, Verdict::passed);
  row.cache = CacheState::cold;
  ceilings.copy_bytes_per_second = row.cost.bytes / 1e-3;
  EXPECT_EQ(judged(row, ceilings).verdict, Verdict::passed);
}

TEST(Sweep, ARowWhoseSamplesWereAllThrottledIsInvalidNotEmpty) {
  Row row = timed_row(tiny());
  row.measurement = Measurement{.samples_ms = {}, .rounds = {}, .throttled = 7, .stopped = Stopped::timed_out};
  row.summary.reset();
  const Row invalid = judged(row, Ceilings{});
  EXPECT_EQ(invalid.verdict, Verdict::invalid);
  EXPECT_EQ(invalid.exit_code, ExitCode::wrong_numbers);
  EXPECT_NE(invalid.reason.find("all 7 samples"), std::string::npos) << invalid.reason;
}

TEST(Sweep, ARowCloseToAnEmptyKernelOrCutShortSaysSo) {
  Row row = timed_row(tiny());
  row.measurement->stopped = Stopped::timed_out;
  Ceilings ceilings;
  ceilings.copy_bytes_per_second = 1e30;
  ceilings.empty_launch_ms = 1;
  const std::string note = judged(row, ceilings).note;
  EXPECT_NE(note.find("within 3 times an empty kernel"), std::string::npos) << note;
  EXPECT_NE(note.find("timed out"), std::string::npos) << note;
  ceilings.empty_launch_ms = 1e-3;
  EXPECT_EQ(judged(row, ceilings).note.find("within"), std::string::npos);
}

TEST(Runner, ALaunchTooShortToTimeAloneIsAlsoTimedInABatch) {
  Ceilings ceilings;
  ceilings.backend = "cpu";
  ceilings.copy_bytes_per_second = 1e30;
  ceilings.empty_launch_ms = 1e6;
  const std::vector<Row> rows = Runner(quick(), {{"cpu", ceilings}}).run(tiny());
  ASSERT_EQ(rows.size(), 1u);
  ASSERT_TRUE(rows[0].batched_ms.has_value());
  EXPECT_GT(*rows[0].batched_ms, 0);
  ceilings.empty_launch_ms = 0;
  EXPECT_FALSE(Runner(quick(), {{"cpu", ceilings}}).run(tiny()).at(0).batched_ms.has_value());
}

TEST(Runner, ForAProfilerEachProblemIsLaunchedAndNotTimed) {
  RunOptions options = quick();
  options.profile = true;
  Runner runner(options);
  const std::vector<Row> rows = runner.run(tiny());
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].verdict, Verdict::unchecked);
  EXPECT_FALSE(rows[0].measurement.has_value());
  EXPECT_TRUE(runner.ceilings().empty()) << "the profile would show what measures them";
}

TEST(Runner, SettingsOfARunSurviveTheWayToAnotherProcess) {
  RunOptions options;
  options.check = false;
  options.states = {CacheState::warm, CacheState::cold};
  options.profile = true;
  options.measure = {.warmup = 2, .min_samples = 3, .min_seconds = 4, .max_noise = 5, .timeout_seconds = 6};
  EXPECT_EQ(to_json(run_options_from_json(to_json(options))), to_json(options));
  EXPECT_NE(to_json(RunOptions{}), to_json(options));
}

TEST(Metrics, TagsAreUniqueAndEveryMetricIsDescribed) {
  std::set<std::string> tags;
  for (const Metric& metric : metrics()) {
    EXPECT_TRUE(tags.insert(metric.tag).second) << metric.tag;
    EXPECT_NE(std::string(metric.description), "") << metric.tag;
    EXPECT_NE(std::string(metric.heading), "") << metric.tag;
  }
}

TEST(Metrics, FollowFromTheSamplesAndTheCost) {
  const Row row = timed_row(tiny());
  const double steps = 2 * 8 * 33;
  EXPECT_EQ(value_of("median_ms", row), Value(2.0));
  EXPECT_EQ(value_of("min_ms", row), Value(1.0));
  EXPECT_EQ(value_of("samples", row), Value(int64_t{3}));
  EXPECT_EQ(value_of("floor_fraction", row), Value(25.0));
  EXPECT_DOUBLE_EQ(std::get<double>(value_of("gb_per_s", row)), row.cost.bytes / 2e-3 * 1e-9);
  EXPECT_DOUBLE_EQ(std::get<double>(value_of("gelements_per_s", row)), steps / 2e-3 * 1e-9);
  EXPECT_DOUBLE_EQ(std::get<double>(value_of("gupdates_per_s", row)), steps * 4 / 2e-3 * 1e-9);
}

TEST(Metrics, OfARowWithoutATimeThereIsNoTimeOrRate) {
  const Row row = untimed_row(tiny(), Verdict::failed, "wrong");
  for (const char* tag : {"median_ms", "spread", "samples", "floor_ms", "floor_fraction", "gb_per_s", "gupdates_per_s"})
    EXPECT_EQ(value_of(tag, row), Value()) << tag;
}

TEST(Metrics, TheWorstErrorOfARowIsNotHiddenByANumberAfterANaN) {
  Row row = timed_row(tiny());
  row.check = CheckResult{};
  Comparison nan;
  nan.rel_l2 = std::nan("");
  Comparison small;
  small.rel_l2 = 1e-7;
  row.check->tensors = {small, nan, small};
  EXPECT_TRUE(std::isnan(std::get<double>(value_of("rel_error", row))));
}

TEST(Table, SaysOnceWhatIsTheSameInEveryRowAndMakesAColumnOfWhatVaries) {
  const std::string text = table_text(results_of({timed_row(tiny("forward")), timed_row(tiny("backward"))}));
  EXPECT_NE(text.find("discretization mamba"), std::string::npos) << text;
  EXPECT_NE(text.find("backend cpu"), std::string::npos) << text;
  const auto lines = lines_of(text);
  const auto header =
      std::ranges::find_if(lines, [](const std::string& line) { return line.starts_with("direction"); });
  ASSERT_NE(header, lines.end()) << text;
  EXPECT_EQ(header->find("discretization"), std::string::npos) << text;
  EXPECT_EQ(std::ranges::count_if(lines, [](const std::string& line) { return line.ends_with("threads=2,tile=8"); }),
            2);

  Problem other = tiny();
  other.options.z = false;
  const std::string varied = table_text(results_of({timed_row(tiny()), timed_row(other)}));
  EXPECT_NE(varied.find("  options\n"), std::string::npos) << varied;
}

TEST(Table, WhatOnlySomeRowsHaveIsAColumn) {
  Row noisy = timed_row(tiny());
  noisy.note = "noisy";
  const std::string some = table_text(results_of({noisy, timed_row(tiny())}));
  EXPECT_EQ(some.find("note noisy"), std::string::npos) << some;
  EXPECT_NE(some.find("  note\n"), std::string::npos) << some;
  const std::string all = table_text(results_of({noisy, noisy}));
  EXPECT_NE(all.find("note noisy"), std::string::npos) << all;
  EXPECT_EQ(table_text(results_of({timed_row(tiny())})).find("note"), std::string::npos);
}

TEST(Table, GivesTheReasonAndTheReproLineOfWhatDidNotPass) {
  const Problem problem = tiny();
  const std::string text = table_text(results_of({untimed_row(problem, Verdict::failed, "out is wrong at [0, 1, 2]")}));
  EXPECT_NE(text.find("failed: " + to_string(problem)), std::string::npos) << text;
  EXPECT_NE(text.find("out is wrong at [0, 1, 2]"), std::string::npos) << text;
}

TEST(Table, CountsSkippedProblemsByReasonInsteadOfListingThem) {
  const Row skipped = untimed_row(tiny(), Verdict::skipped, "no CUDA device", ExitCode::nothing_ran);
  EXPECT_EQ(table_text(results_of({skipped, skipped})), "skipped: no CUDA device (2 problems)\n");
  const std::string mixed = table_text(results_of({timed_row(tiny("backward")), skipped}));
  EXPECT_NE(mixed.find("\nskipped: no CUDA device (1 problem)\n"), std::string::npos) << mixed;
  EXPECT_EQ(mixed.find("forward"), std::string::npos) << mixed;
}

TEST(Csv, HasAHeaderAndARowForEachProblemWithAsManyFields) {
  const Results results = results_of({timed_row(tiny()), untimed_row(tiny(), Verdict::failed, "a \"quoted\", reason")});
  const auto lines = lines_of(csv_text(results));
  ASSERT_EQ(lines.size(), 3u);
  const auto header = fields_of(lines[0]);
  ASSERT_EQ(header.size(), metrics().size() + 1);
  EXPECT_EQ(header[0], "problem");
  for (size_t i = 0; i < metrics().size(); ++i) EXPECT_EQ(header[i + 1], metrics()[i].tag);
  for (const size_t line : {1, 2}) {
    const auto fields = fields_of(lines[line]);
    ASSERT_EQ(fields.size(), header.size()) << lines[line];
    EXPECT_EQ(fields[0], to_string(tiny()));
  }
  const auto reason = std::ranges::find(header, "reason") - header.begin();
  EXPECT_EQ(fields_of(lines[2])[reason], "a \"quoted\", reason");
  const auto median = std::ranges::find(header, "median_ms") - header.begin();
  EXPECT_EQ(fields_of(lines[1])[median], "2.0");
  EXPECT_EQ(fields_of(lines[2])[median], "");
}

TEST(Json, HoldsEverySampleAndEveryMetricAndNullForWhatIsAbsent) {
  const Results results = results_of({timed_row(tiny()), untimed_row(tiny(), Verdict::skipped, "no CUDA device")});
  const auto json = nlohmann::json::parse(json_text(results));
  EXPECT_EQ(json.at("schema_version"), kResultsSchemaVersion);
  EXPECT_EQ(json.at("complete"), true);
  EXPECT_EQ(json.at("metrics").size(), metrics().size());
  EXPECT_EQ(json.at("environment"), nlohmann::json(results.environment));
  ASSERT_EQ(json.at("results").size(), 2u);
  for (const auto& result : json.at("results"))
    for (const Metric& metric : metrics()) EXPECT_TRUE(result.contains(metric.tag)) << metric.tag;
  EXPECT_EQ(json.at("results")[0].at("samples_ms"), (std::vector<double>{2, 1, 4}));
  EXPECT_EQ(json.at("results")[0].at("median_ms"), 2.0);
  EXPECT_EQ(parse_problem(json.at("results")[0].at("problem").get<std::string>()), tiny());
  EXPECT_TRUE(json.at("results")[1].at("median_ms").is_null());
  EXPECT_TRUE(json.at("results")[1].at("samples_ms").empty());
}

TEST(Json, OfASweepThatASignalEndedSaysThatItIsNotComplete) {
  Results results = results_of({timed_row(tiny())});
  results.complete = false;
  EXPECT_EQ(nlohmann::json::parse(json_text(results)).at("complete"), false);
}

}  // namespace
}  // namespace lrnnx::bench::sweep_test
