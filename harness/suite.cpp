// Suites, axes and filters to problems.
#include "harness/suite.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_set>
#include <utility>

#include "harness/backend.h"
#include "harness/configurations.h"
#include "harness/covering.h"
#include "harness/error.h"
#include "harness/files.h"
#include "harness/fill.h"
#include "harness/shapes.h"
#include "harness/strict_json.h"
#include "harness/variants.h"
#include "harness/words.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

// The values of every axis as text; all combinations are meant. Later axes vary faster.
using Axes = std::map<std::string, std::vector<std::string>>;

const std::vector<std::string>& axis_names() {
  static const std::vector<std::string> kNames = {"batch",   "dim",  "groups", "dstate",   "seqlen",
                                                  "options", "fill", "layout", "direction"};
  return kNames;
}

constexpr const char* kEveryOption = "every";    // of axis options: all combinations of options
constexpr const char* kGroupPerChannel = "dim";  // of axis groups

std::vector<std::string> every_option_set() {
  const auto names = option_names();
  std::vector<std::string> sets;
  for (uint32_t bits = 0; bits < uint32_t{1} << names.size(); ++bits) {
    Options options;
    for (size_t i = 0; i < names.size(); ++i) options.*names[i].value = bits >> i & 1;
    sets.push_back(to_string(options));
  }
  return sets;
}

std::vector<std::string> without_repeats(const std::vector<std::string>& values) {
  std::vector<std::string> once;
  for (const std::string& value : values)
    if (std::ranges::find(once, value) == once.end()) once.push_back(value);
  return once;
}

// One text of an axis, a range perhaps, to the values it stands for.
std::vector<std::string> axis_values(const std::string& axis, const std::string& text) {
  if (axis == "options") {
    if (text == kEveryOption) return every_option_set();
    return {to_string(parse_options(text))};
  }
  if (axis == "fill") {
    require_fill(text);
    return {text};
  }
  if (axis == "layout") return {to_string(parse_memory_layout(text))};
  if (axis == "direction") {
    if (text != "forward" && text != "backward") {
      throw UsageError(fmt::format("direction '{}': expected forward or backward", text));
    }
    return {text};
  }
  if (axis == "groups" && text == kGroupPerChannel) return {text};
  std::vector<std::string> values;
  for (const int64_t value : parse_axis_values(text, axis)) values.push_back(std::to_string(value));
  return values;
}

void set_axis(Problem& problem, const std::string& axis, const std::string& value) {
  if (axis == "options") {
    problem.options = parse_options(value);
  } else if (axis == "fill") {
    problem.fill = value;
  } else if (axis == "layout") {
    problem.layout = parse_memory_layout(value);
  } else if (axis == "direction") {
    problem.direction = value;
  } else {
    for (const ShapeAxis& candidate : shape_axes()) {
      if (candidate.name != axis) continue;
      // dim is set before groups.
      problem.shape.*candidate.value = value == kGroupPerChannel ? problem.shape.dim : parse_integer(value, axis);
    }
  }
}

// What a case of a suite, or a problem line, stands for.
struct Grid {
  std::vector<Problem> operations;  // family, discretization, dtype; and backend and configuration of a line
  Axes axes;
  bool pairs = false;   // a few combinations that hold every pair of values, instead of all
  int64_t budget = 0;   // most batch * dim * seqlen * dstate of a problem that is listed; 0: any
  std::string backend;  // the only one that it is for; empty: all
  bool from_line = false;
};

// The largest number if there are more.
int64_t state_updates(const Shape& shape) {
  int64_t product = 1;
  for (const int64_t extent : {shape.batch, shape.dim, shape.seqlen, shape.dstate})
    if (__builtin_mul_overflow(product, extent, &product)) return std::numeric_limits<int64_t>::max();
  return product;
}

// Problems without a direction that hold every possible pair of values of two axes. Operations are an axis; each option
// is one, if every combination of them is asked for.
class PairwiseGrid {
 public:
  PairwiseGrid(const std::vector<Problem>& operations, const Axes& axes, int64_t budget)
      : operations_(operations), budget_(budget) {
    add_axis("operation", operations.size());
    for (const std::string& axis : axis_names()) {
      if (axis == "direction") continue;
      values_[axis] = axes.at(axis);
      if (axis == "options" && values_[axis].size() == every_option_set().size()) {
        for (const OptionName& option : option_names()) add_axis(option.name, 2, option.value);
      } else {
        add_axis(axis, values_[axis].size());
      }
    }
  }

  std::vector<Problem> rows() const {
    std::vector<int> sizes;
    for (const PairAxis& axis : axes_) sizes.push_back(static_cast<int>(axis.size));
    std::vector<Choice> choices = cover_pairs(sizes, [this](const Choice& choice) { return is_possible(choice); });
    std::stable_sort(choices.begin(), choices.end(), [](const Choice& a, const Choice& b) { return a[0] < b[0]; });
    std::vector<Problem> problems;
    for (const Choice& choice : choices) problems.push_back(problem_of(choice, false));
    return problems;
  }

 private:
  struct PairAxis {
    std::string name;
    size_t size;
    bool Options::*option;
  };

  void add_axis(const std::string& name, size_t size, bool Options::*option = nullptr) {
    axes_.push_back({name, size, option});
  }

  // Where nothing is chosen: sizes of 1, the plainest of the rest, and options as in `unchosen_options`.
  Problem problem_of(const Choice& choice, bool unchosen_options) const {
    Problem problem = choice[0] == kAnyValue ? Problem{} : operations_[static_cast<size_t>(choice[0])];
    problem.direction = "backward";  // has whatever the forward has
    for (size_t i = 1; i < axes_.size(); ++i) {
      const PairAxis& axis = axes_[i];
      if (axis.option) {
        problem.options.*axis.option = choice[i] == kAnyValue ? unchosen_options : choice[i] == 1;
      } else if (choice[i] != kAnyValue) {
        set_axis(problem, axis.name, values_.at(axis.name)[static_cast<size_t>(choice[i])]);
      }
    }
    return problem;
  }

  bool is_possible(const Choice& choice) const {
    const Problem problem = problem_of(choice, true);
    const Shape& shape = problem.shape;
    if (shape.dim % shape.groups != 0 && is_chosen(choice, "dim")) return false;
    if (budget_ > 0 && state_updates(shape) > budget_) return false;
    if (choice[0] == kAnyValue) return true;
    for (size_t i = 1; i < axes_.size(); ++i) {
      const bool Options::*option = axes_[i].option;
      if (option && choice[i] == 1 && option != &Options::save && !takes_option(problem, axes_[i].option)) return false;
    }
    return !fill_objection(problem) || !fill_objection(problem_of(choice, false));
  }

  bool is_chosen(const Choice& choice, const std::string& name) const {
    for (size_t i = 0; i < axes_.size(); ++i) {
      if (axes_[i].name == name) return choice[i] != kAnyValue;
    }
    return false;
  }

  const std::vector<Problem>& operations_;
  int64_t budget_;
  Axes values_;
  std::vector<PairAxis> axes_;
};

class ProblemList {
 public:
  void add(const Grid& grid, const std::vector<std::string>& backends) {
    std::vector<std::string> kept;
    for (const std::string& backend : backends) {
      if (grid.backend.empty() || grid.backend == backend) kept.push_back(backend);
    }
    if (grid.pairs) {
      for (const Problem& problem : PairwiseGrid(grid.operations, grid.axes, grid.budget).rows())
        for (const std::string& direction : grid.axes.at("direction")) {
          Problem directed = problem;
          directed.direction = direction;
          add(directed, grid, kept);
        }
      return;
    }
    for (const Problem& operation : grid.operations) add_all(operation, grid, kept, 0);
  }

  // Nothing was even considered.
  bool empty() const { return problems_.empty() && objection_.empty() && !is_over_budget_; }

  // Throws UsageError if nothing that was considered could be listed.
  std::vector<Problem> take() {
    if (problems_.empty() && !objection_.empty())
      throw UsageError(fmt::format("no problem of the selection can have its fill: {}", objection_));
    if (problems_.empty() && is_over_budget_)
      throw UsageError(
          "every problem of the selection has more than the suite's budget of batch * dim * seqlen * dstate");
    return std::move(problems_);
  }

 private:
  void add_all(Problem problem, const Grid& grid, const std::vector<std::string>& backends, size_t depth) {
    if (depth == axis_names().size()) return add(problem, grid, backends);
    const std::string& axis = axis_names()[depth];
    for (const std::string& value : grid.axes.at(axis)) {
      set_axis(problem, axis, value);
      add_all(problem, grid, backends, depth + 1);
    }
  }

  void add(Problem problem, const Grid& grid, const std::vector<std::string>& backends) {
    drop_untaken_options(problem);  // one list of options serves all
    validate(problem);
    if (grid.budget > 0 && state_updates(problem.shape) > grid.budget) {
      is_over_budget_ = true;
      return;
    }
    // A suite lists what has a meaning; whoever writes a line is told.
    if (const auto objection = fill_objection(problem); objection && !grid.from_line) {
      objection_ = *objection;
      return;
    }
    for (const std::string& backend : backends) {
      if (!backend.empty()) problem.backend = backend;
      if (!seen_.insert(to_string(problem)).second) continue;
      problems_.push_back(problem);
      constexpr size_t kMostProblems = 1'000'000;
      if (problems_.size() > kMostProblems)
        throw UsageError(fmt::format("the selection has more than {} problems", kMostProblems));
    }
  }

  std::vector<Problem> problems_;
  std::unordered_set<std::string> seen_;
  std::string objection_;        // one that kept a problem from being listed
  bool is_over_budget_ = false;  // one was
};

// family.discretization.dtype of the variants that a glob matches.
std::vector<Problem> find_operations(const std::string& glob, const std::string& origin) {
  std::vector<Problem> found;
  std::set<std::string> names;
  for (const Variant& variant : variants()) {
    const std::string name = fmt::format("{}.{}.{}", variant.family, variant.discretization, variant.dtype);
    if (!names.insert(name).second || !glob_matches(glob, name)) continue;
    Problem problem;
    problem.family = variant.family;
    problem.discretization = variant.discretization;
    problem.dtype = variant.dtype;
    found.push_back(problem);
  }
  if (found.empty()) {
    throw UsageError(fmt::format("{}: operator '{}' matches none of {}", origin, glob,
                                 join_or(std::vector<std::string>(names.begin(), names.end()))));
  }
  return found;
}

// --- suites -----------------------------------------------------------------------------------------------------

// A string, a whole number, or a list of these.
std::vector<std::string> texts_of(const Json& value, const std::string& where) {
  std::vector<std::string> texts;
  for (const Json& item : value.is_array() ? value : Json::array({value})) {
    if (item.is_string()) {
      texts.push_back(item.get<std::string>());
    } else if (item.is_number_integer()) {
      texts.push_back(item.dump());
    } else {
      throw UsageError(
          fmt::format("{}: expected whole numbers, strings or a list of these, not {}", where, item.dump()));
    }
  }
  if (texts.empty()) throw UsageError(fmt::format("{}: the list is empty", where));
  return texts;
}

std::string text_of(const Json& value, const std::string& where) {
  const std::vector<std::string> texts = texts_of(value, where);
  if (texts.size() > 1) throw UsageError(fmt::format("{}: expected one value, not {}", where, value.dump()));
  return texts.front();
}

Grid parse_case(const Json& object, const std::string& where, const Axes& overrides) {
  std::vector<std::string> allowed = {"description",   "operator", "seed",   "backend", "implementation",
                                      "configuration", "combine",  "budget", "include"};
  allowed.insert(allowed.end(), axis_names().begin(), axis_names().end());
  require_keys(object, allowed, where);

  Grid grid;
  for (const std::string& glob : texts_of(object.value("operator", Json("*")), where + ": operator")) {
    for (Problem& operation : find_operations(glob, where)) {
      if (object.contains("seed")) {
        if (!object["seed"].is_number_unsigned()) {
          throw UsageError(fmt::format("{}: seed: expected a whole number, not {}", where, object["seed"].dump()));
        }
        operation.seed = object["seed"].get<uint64_t>();
      }
      grid.operations.push_back(std::move(operation));
    }
  }
  if (object.contains("backend")) {
    grid.backend = backend(text_of(object["backend"], where + ": backend")).name();
  }
  if (object.contains("implementation")) {
    const std::string name = text_of(object["implementation"], where + ": implementation");
    for (Problem& operation : grid.operations) operation.implementation = name;
  }
  if (object.contains("configuration")) {
    if (grid.backend.empty())
      throw UsageError(fmt::format("{}: configuration: is of one backend, which the case has to name", where));
    const std::vector<Problem> operations = std::exchange(grid.operations, {});
    for (const std::string& text : texts_of(object["configuration"], where + ": configuration")) {
      require_configuration(text, where + ": configuration");
      for (Problem operation : operations) {
        operation.configuration = text;
        grid.operations.push_back(std::move(operation));
      }
    }
  }
  if (object.contains("combine")) {
    const std::string combine = text_of(object["combine"], where + ": combine");
    if (combine != "all" && combine != "pairs")
      throw UsageError(fmt::format("{}: combine '{}': expected all or pairs", where, combine));
    grid.pairs = combine == "pairs";
  }
  if (object.contains("budget")) {
    grid.budget = parse_integer(text_of(object["budget"], where + ": budget"), where + ": budget");
  }
  grid.axes = {{"groups", {"1"}},
               {"options", {to_string(Options{})}},
               {"fill", {Problem{}.fill}},
               {"layout", {to_string(Problem{}.layout)}},
               {"direction", {"forward", "backward"}}};
  for (const std::string& axis : axis_names()) {
    if (object.contains(axis)) {
      std::vector<std::string> values;
      for (const std::string& text : texts_of(object[axis], fmt::format("{}: {}", where, axis))) {
        try {
          const auto more = axis_values(axis, text);
          values.insert(values.end(), more.begin(), more.end());
        } catch (const UsageError& error) {
          throw UsageError(fmt::format("{}: {}", where, error.what()));
        }
      }
      grid.axes[axis] = without_repeats(values);
    }
    if (overrides.contains(axis)) grid.axes[axis] = overrides.at(axis);
    if (!grid.axes.contains(axis)) throw UsageError(fmt::format("{}: axis {} is missing", where, axis));
  }
  return grid;
}

Json parse_cases(const std::string& text, const std::string& origin) {
  Json suite = parse_json(text, origin);
  require_keys(suite, {"description", "reruns", "cases"}, origin);
  if (!suite.contains("cases") || !suite["cases"].is_array() || suite["cases"].empty()) {
    throw UsageError(fmt::format("{}: expected a list 'cases' with at least one case", origin));
  }
  return std::move(suite["cases"]);
}

// A case that includes a suite stands for each of that one's cases, with its own keys in the place of theirs; null
// takes one away.
std::vector<Grid> parse_suite(const std::string& text, const std::string& origin, const Axes& overrides) {
  constexpr const char* kInclude = "include";
  std::vector<Grid> grids;
  size_t number = 0;
  for (const Json& own : parse_cases(text, origin)) {
    const std::string where = fmt::format("{}: case {}", origin, ++number);
    if (!own.is_object() || !own.contains(kInclude)) {
      grids.push_back(parse_case(own, where, overrides));
      continue;
    }
    if (!own[kInclude].is_string())
      throw UsageError(fmt::format("{}: include: expected the name of a file, not {}", where, own[kInclude].dump()));
    const std::string path = std::filesystem::path(origin).parent_path() / own[kInclude].get<std::string>();
    if (!std::filesystem::exists(path)) throw UsageError(fmt::format("{}: include: no file {}", where, path));
    size_t included = 0;
    for (Json each : parse_cases(read_file(path), path)) {
      const std::string place = fmt::format("{} ({}: case {})", where, path, ++included);
      if (!each.is_object() || each.contains(kInclude))
        throw UsageError(fmt::format("{}: expected a case that includes nothing", place));
      for (const auto& [key, value] : own.items()) {
        if (value.is_null()) {
          each.erase(key);
        } else if (key != kInclude) {
          each[key] = value;
        }
      }
      grids.push_back(parse_case(each, place, overrides));
    }
  }
  return grids;
}

// --- command line -----------------------------------------------------------------------------------------------

// Values of one axis given more than once add up.
Axes parse_axis_flags(const std::vector<std::string>& flags) {
  Axes axes;
  for (const std::string& flag : flags) {
    const size_t equals = flag.find('=');
    const std::string axis = flag.substr(0, equals);
    if (equals == std::string::npos ||
        std::find(axis_names().begin(), axis_names().end(), axis) == axis_names().end()) {
      throw UsageError(fmt::format("--axis '{}': expected AXIS=VALUES with axis {}", flag, join_or(axis_names())));
    }
    const std::string text = flag.substr(equals + 1);
    // The commas of an option set belong to it.
    const auto parts =
        axis == "fill" || axis == "layout" || axis == "direction" ? split(text, ',') : std::vector<std::string>{text};
    for (const std::string& part : parts) {
      const auto values = axis_values(axis, part);
      axes[axis].insert(axes[axis].end(), values.begin(), values.end());
    }
  }
  return axes;
}

Grid grid_of(const Problem& problem, const Axes& overrides) {
  Grid grid{.operations = {problem}, .axes = {}, .backend = {}, .from_line = true};
  for (const ShapeAxis& axis : shape_axes()) grid.axes[axis.name] = {std::to_string(problem.shape.*axis.value)};
  grid.axes["options"] = {to_string(problem.options)};
  grid.axes["fill"] = {problem.fill};
  grid.axes["layout"] = {to_string(problem.layout)};
  grid.axes["direction"] = {problem.direction};
  for (const auto& [axis, values] : overrides) grid.axes[axis] = values;
  return grid;
}

std::vector<std::string> selected_backends(const std::string& flag) {
  std::vector<std::string> names = backend_names();
  if (flag == "all") return names;
  if (std::ranges::find(names, flag) != names.end()) return {flag};
  names.push_back("all");
  throw UsageError(fmt::format("--backend '{}': expected {}", flag, join_or(names)));
}

std::vector<Problem> filter_problems(std::vector<Problem> problems, const std::string& filter) {
  if (filter.empty()) return problems;
  std::vector<Problem> kept;
  std::set<std::string> names;
  for (Problem& problem : problems) {
    const std::string name = variant_name(problem);
    if (glob_matches(filter, name)) kept.push_back(std::move(problem));
    names.insert(name);
  }
  if (kept.empty()) {
    throw UsageError(fmt::format("--filter '{}' matches none of the {} selected variants, such as {}; list names all",
                                 filter, names.size(), *names.begin()));
  }
  return kept;
}

// Which of them compute it. Of lrnnx every problem is listed, for what this build lacks is skipped in words; of a
// library that cannot be used too, for that is then said of each.
bool is_listed(const Implementation& implementation, const Problem& problem) {
  return implementation.name == linked_library().name || !implementation.error.empty() ||
         has_variant(implementation.variants, problem);
}

// Each problem once for each implementation.
std::vector<Problem> for_implementations(const std::vector<Problem>& problems, const Selection& selection,
                                         std::span<const Implementation> implementations) {
  const auto is_wanted = [&](const Implementation& implementation) {
    if (!selection.implementation.empty()) return glob_matches(selection.implementation, implementation.name);
    return implementation.file || implementation.name == linked_library().name;
  };
  std::vector<Problem> listed;
  std::vector<std::string> names;
  for (const Implementation& implementation : implementations) names.push_back(implementation.name);
  for (const Problem& problem : problems) {
    if (!problem.implementation.empty()) find_implementation(implementations, problem.implementation);
    for (const Implementation& implementation : implementations) {
      const bool is_named = problem.implementation == implementation.name;
      if (!problem.implementation.empty() && !is_named) continue;
      if (!is_wanted(implementation) && !(is_named && selection.implementation.empty())) continue;
      const bool from_line = !selection.problems.empty();
      if (!(is_named && from_line) && !is_listed(implementation, problem)) continue;
      // The configurations that a suite lists are those of the library of this repository, unless it names another.
      const bool lists_own = !from_line && !problem.configuration.empty() && selection.configuration.empty();
      if (lists_own && !is_named && implementation.name != linked_library().name) continue;
      Problem own = problem;
      own.implementation = implementation.name == linked_library().name ? "" : implementation.name;
      listed.push_back(std::move(own));
    }
  }
  const auto computes_any = [&](const Implementation& implementation) {
    return std::ranges::any_of(
        listed, [&](const Problem& problem) { return implementation_of(problem) == implementation.name; });
  };
  const bool names_one = std::ranges::any_of(problems, [](const Problem& p) { return !p.implementation.empty(); });
  for (const Implementation& implementation : implementations) {
    if (!implementation.file || !is_wanted(implementation) || names_one || computes_any(implementation)) continue;
    std::vector<std::string> computed;
    for (const Variant& variant : implementation.variants) computed.push_back(variant.name());
    throw UsageError(fmt::format("--library {}: computes none of the selected problems, but {}",
                                 implementation.file->path, join_or(computed)));
  }
  if (listed.empty())
    throw UsageError(fmt::format("--implementation '{}' matches none that computes a selected problem: {}",
                                 selection.implementation, join_or(names)));
  return listed;
}

}  // namespace

std::vector<int64_t> parse_axis_values(std::string_view text, std::string_view axis) {
  const std::string_view whole = text;
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  constexpr size_t kMostValues = 10000;
  std::vector<int64_t> values;
  for (const std::string& item : split(text, ',')) {
    if (const ShapeSet* set = find_shape_set(axis, item)) {
      const std::vector<int64_t> named = parse_axis_values(set->values, axis);
      values.insert(values.end(), named.begin(), named.end());
      continue;
    }
    const auto parts = split(item, ':');
    const auto refuse = [&](const char* why) {
      throw UsageError(
          fmt::format("{} '{}': {}: expected values like 1024, 2^10 or ranges FIRST:LAST, FIRST:LAST:+STEP, "
                      "FIRST:LAST:xFACTOR, joined by commas",
                      axis, whole, why));
    };
    if (parts.size() > 3) refuse("too many colons");
    const int64_t first = parse_integer(parts[0], axis);
    const int64_t last = parts.size() > 1 ? parse_integer(parts[1], axis) : first;
    const bool geometric = parts.size() == 3 && parts[2].starts_with('x');
    if (parts.size() == 3 && !geometric && !parts[2].starts_with('+')) refuse("the step begins with + or x");
    const int64_t step = parts.size() == 3 ? parse_integer(std::string_view(parts[2]).substr(1), axis) : 1;
    if (geometric && step < 2) refuse("the factor is at least 2");
    if (last < first) refuse("the range is empty");
    for (int64_t value = first; value <= last;) {
      values.push_back(value);
      if (values.size() > kMostValues) refuse("more than 10000 values");
      if (geometric ? __builtin_mul_overflow(value, step, &value) : __builtin_add_overflow(value, step, &value)) break;
    }
  }
  return values;
}

std::string find_suite(const std::string& name_or_path) {
  namespace fs = std::filesystem;
  if (fs::is_regular_file(name_or_path)) return name_or_path;
  std::vector<std::string> tried = {name_or_path};
  if (name_or_path.find('/') == std::string::npos && !name_or_path.ends_with(".json")) {
    std::error_code ignored;
    const fs::path binary = fs::read_symlink("/proc/self/exe", ignored).parent_path();
    // Beside the executable, installed (bin/ and share/lrnnx-bench/), in the source tree of a build directory, and
    // in the source tree that this was built from.
    for (const fs::path& folder : {binary / "suites", binary / "../share/lrnnx-bench/suites", binary / "../../suites",
                                   fs::path(LRNNX_SUITES_DIR)}) {
      const fs::path path = (folder / (name_or_path + ".json")).lexically_normal();
      if (fs::is_regular_file(path)) return path;
      tried.push_back(path);
    }
  }
  throw UsageError(fmt::format("suite '{}': no such file: {}", name_or_path, fmt::join(tried, ", ")));
}

std::vector<Problem> expand_suite(const std::string& json_text, const std::string& origin,
                                  const std::vector<std::string>& backends) {
  ProblemList problems;
  for (const Grid& grid : parse_suite(json_text, origin, {})) problems.add(grid, backends);
  return problems.take();
}

std::optional<int> reruns_of_suite(const Selection& selection) {
  if (!selection.problems.empty()) return std::nullopt;
  const std::string path = find_suite(selection.suite);
  const Json suite = parse_json(read_file(path), path);
  if (!suite.is_object() || !suite.contains("reruns")) return std::nullopt;
  constexpr uint64_t kMostReruns = 1'000'000;
  if (!suite["reruns"].is_number_unsigned() || suite["reruns"].get<uint64_t>() > kMostReruns)
    throw UsageError(fmt::format("{}: reruns: expected 0 to {}, not {}", path, kMostReruns, suite["reruns"].dump()));
  return suite["reruns"].get<int>();
}

std::vector<Problem> select_problems(const Selection& selection) {
  return select_problems(selection, find_implementations({}, 0));
}

namespace {

// Whether it differs from the others in the implementation, and in the configuration that this one takes.
bool belongs_to(const std::vector<Problem>& contest, const Problem& problem) {
  const auto bare = [](Problem any) {
    any.configuration.clear();
    return without_implementation(any);
  };
  return bare(contest.front()) == bare(problem) && std::ranges::none_of(contest, [&](const Problem& other) {
           return other.implementation == problem.implementation;
         });
}

}  // namespace

std::vector<std::vector<Problem>> contests_of(const std::vector<Problem>& problems) {
  std::vector<std::vector<Problem>> contests;
  for (const Problem& problem : problems) {
    if (contests.empty() || !belongs_to(contests.back(), problem)) contests.emplace_back();
    contests.back().push_back(problem);
  }
  return contests;
}

std::vector<Problem> select_problems(const Selection& selection, std::span<const Implementation> implementations) {
  const Axes overrides = parse_axis_flags(selection.axes);
  if (!selection.configuration.empty()) require_configuration(selection.configuration, "--configuration");
  ProblemList list;
  if (!selection.problems.empty()) {
    // A line names its backend; the flag replaces it.
    const auto backends =
        selection.backend.empty() ? std::vector<std::string>{""} : selected_backends(selection.backend);
    for (const std::string& line : selection.problems) list.add(grid_of(parse_problem(line), overrides), backends);
  } else {
    const auto backends = selection.backend.empty() ? std::vector<std::string>{std::string(default_backend().name())}
                                                    : selected_backends(selection.backend);
    const std::string path = find_suite(selection.suite);
    for (const Grid& grid : parse_suite(read_file(path), path, overrides)) list.add(grid, backends);
    if (list.empty()) throw UsageError(fmt::format("{}: no case is for backend {}", path, fmt::join(backends, ", ")));
  }
  std::vector<Problem> problems = filter_problems(list.take(), selection.filter);
  for (Problem& problem : problems) {
    if (selection.seed) problem.seed = *selection.seed;
    if (!selection.configuration.empty()) problem.configuration = selection.configuration;
  }
  problems = for_implementations(problems, selection, implementations);
  if (!selection.configurations.empty()) read_configurations(selection.configurations).apply(problems);
  return problems;
}

void add_selection_flags(CLI::App& app, Selection& selection, const std::string& default_suite) {
  selection.suite = default_suite;
  auto* suite = app.add_option("-s,--suite", selection.suite, "Suite to run: a name in suites/, or a JSON file")
                    ->type_name("NAME|FILE")
                    ->capture_default_str()
                    ->group("Selection");
  app.add_option(
         "-p,--problem", selection.problems,
         "One problem instead of a suite, as a failure prints it: 'VARIANT batch=.. dim=.. seqlen=.. dstate=..'. "
         "May be repeated")
      ->type_name("LINE")
      ->allow_extra_args(false)
      ->excludes(suite)
      ->group("Selection");
  app.add_option("-a,--axis", selection.axes,
                 fmt::format("Replace an axis by these values: seqlen=1024,2048 or seqlen=[2^10:2^16:x2] or "
                             "options=B,C,z. Axes: {}. Repeat to add values",
                             fmt::join(axis_names(), ", ")))
      ->type_name("AXIS=VALUES")
      ->allow_extra_args(false)
      ->group("Selection");
  app.add_option("-f,--filter", selection.filter, "Only variants whose name matches, such as '*.backward.*'")
      ->type_name("GLOB")
      ->group("Selection");
  app.add_option("-b,--backend", selection.backend,
                 "cpu, cuda or all; without it cuda if there is a device, else cpu, or what a problem line says")
      ->type_name("NAME")
      ->group("Selection");
  app.add_option_function<std::string>(
         "--seed", [&selection](const std::string& text) { selection.seed = parse_seed(text, "--seed"); },
         "Seed of the inputs of every problem")
      ->type_name("N")
      ->group("Selection");
  app.add_option("--configuration,--config", selection.configuration,
                 "Launch configuration for every problem, as KEY=VALUE,KEY=VALUE; list shows the keys")
      ->type_name("TEXT")
      ->group("Selection");
  app.add_option("--configurations", selection.configurations,
                 "Launch configurations by device, variant and shape, for problems that have none of their own")
      ->type_name("FILE")
      ->check(CLI::ExistingFile)
      ->group("Selection");
  add_library_flag(app, selection.libraries);
  app.add_option(
         "--implementation", selection.implementation,
         "Only implementations whose name matches: lrnnx, naive (unfused), or that of a --library; without it all "
         "of these but naive")
      ->type_name("GLOB")
      ->group("Selection");
}

}  // namespace lrnnx::bench
