// Problems to text and back.
#include "harness/problem.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "harness/backend.h"
#include "harness/error.h"
#include "harness/fill.h"
#include "harness/variants.h"
#include "harness/words.h"
#include "lrnnx/lrnnx.h"

namespace lrnnx::bench {
namespace {

constexpr ShapeAxis kShapeAxes[] = {{"batch", &Shape::batch},
                                    {"dim", &Shape::dim},
                                    {"seqlen", &Shape::seqlen},
                                    {"dstate", &Shape::dstate},
                                    {"groups", &Shape::groups}};

constexpr OptionName kOptionNames[] = {{"B", &Options::variable_B, LRNNX_VARIABLE_B},
                                       {"C", &Options::variable_C, LRNNX_VARIABLE_C},
                                       {"D", &Options::D, LRNNX_HAS_D},
                                       {"z", &Options::z, LRNNX_HAS_Z},
                                       {"delta_bias", &Options::delta_bias, LRNNX_HAS_DELTA_BIAS},
                                       {"delta_softplus", &Options::delta_softplus, LRNNX_DELTA_SOFTPLUS},
                                       {"deltaA", &Options::deltaA, LRNNX_HAS_DELTA_A},
                                       {"h0", &Options::h0, LRNNX_HAS_H0},
                                       {"last_state", &Options::last_state, LRNNX_HAS_LAST_STATE},
                                       {"save", &Options::save, LRNNX_SAVE_FOR_BACKWARD}};

constexpr const char* kNoOptions = "none";

constexpr MemoryLayoutName kMemoryLayouts[] = {
    {"contiguous", MemoryLayout::contiguous, "rows behind each other"},
    {"strided", MemoryLayout::strided, "gaps between the rows of (batch, dim, seqlen) and between batches"},
    {"offset", MemoryLayout::offset, "every tensor begins one element behind an aligned address"},
    {"transposed", MemoryLayout::transposed, "(batch, dim, seqlen) with the batches inside the channels"}};

// One component of the variant's name: where it stands in a problem, and which words it may be.
struct Component {
  const char* name;
  std::string Problem::*value;
  std::vector<std::string> (*allowed)();
};

template <std::string Variant::*Member>
std::vector<std::string> words_of_variants() {
  std::vector<std::string> words;
  for (const Variant& variant : variants()) {
    if (std::find(words.begin(), words.end(), variant.*Member) == words.end()) words.push_back(variant.*Member);
  }
  return words;
}

const Component kComponents[] = {
    {"family", &Problem::family, words_of_variants<&Variant::family>},
    {"discretization", &Problem::discretization, words_of_variants<&Variant::discretization>},
    {"dtype", &Problem::dtype, words_of_variants<&Variant::dtype>},
    {"direction", &Problem::direction, words_of_variants<&Variant::direction>},
    {"backend", &Problem::backend, backend_names},
};

void parse_variant(std::string_view word, Problem& problem) {
  const auto parts = split(word, '.');
  if (parts.size() != std::size(kComponents)) {
    throw UsageError(
        fmt::format("variant '{}': expected family.discretization.dtype.direction.backend, such as "
                    "selective_scan.mamba.f32.forward.cpu",
                    word));
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto allowed = kComponents[i].allowed();
    if (std::find(allowed.begin(), allowed.end(), parts[i]) == allowed.end()) {
      throw UsageError(
          fmt::format("variant '{}': {} '{}': expected {}", word, kComponents[i].name, parts[i], join_or(allowed)));
    }
    problem.*kComponents[i].value = parts[i];
  }
}

}  // namespace

std::span<const ShapeAxis> shape_axes() { return kShapeAxes; }

std::span<const OptionName> option_names() { return kOptionNames; }

std::span<const MemoryLayoutName> memory_layout_names() { return kMemoryLayouts; }

const char* to_string(MemoryLayout layout) {
  for (const MemoryLayoutName& row : kMemoryLayouts) {
    if (row.value == layout) return row.name;
  }
  return "";
}

MemoryLayout parse_memory_layout(std::string_view text) {
  std::vector<std::string> names;
  for (const MemoryLayoutName& row : kMemoryLayouts) {
    if (row.name == text) return row.value;
    names.emplace_back(row.name);
  }
  throw UsageError(fmt::format("layout '{}': expected {}", text, join_or(names)));
}

int64_t parse_integer(std::string_view text, std::string_view what) {
  const auto refuse = [&]() -> int64_t {
    throw UsageError(
        fmt::format("{} '{}': expected a whole number from 1 to 2^63 - 1, such as 1024 or 2^10", what, text));
  };
  const auto digits = [&](std::string_view part) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size() || value < 0) refuse();
    return value;
  };
  const size_t caret = text.find('^');
  int64_t value = digits(text.substr(0, caret));
  if (caret != std::string_view::npos) {
    const int64_t base = value, exponent = digits(text.substr(caret + 1));
    value = 1;
    for (int64_t i = 0; i < exponent && value != 0; ++i) {
      if (__builtin_mul_overflow(value, base, &value)) refuse();
      if (base == 1) break;
    }
  }
  return value >= 1 ? value : refuse();
}

uint64_t parse_seed(std::string_view text, std::string_view what) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    throw UsageError(fmt::format("{} '{}': expected a whole number from 0 to 2^64 - 1", what, text));
  }
  return value;
}

std::string to_string(const Options& options) {
  std::vector<std::string> on;
  for (const OptionName& option : kOptionNames) {
    if (options.*option.value) on.emplace_back(option.name);
  }
  return on.empty() ? kNoOptions : fmt::format("{}", fmt::join(on, ","));
}

Options parse_options(std::string_view text) {
  Options options;
  for (const OptionName& option : kOptionNames) options.*option.value = false;
  if (text == kNoOptions) return options;
  for (const std::string& word : split(text, ',')) {
    const auto option = std::find_if(std::begin(kOptionNames), std::end(kOptionNames),
                                     [&](const OptionName& candidate) { return candidate.name == word; });
    if (option == std::end(kOptionNames)) {
      std::vector<std::string> allowed;
      for (const OptionName& candidate : kOptionNames) allowed.emplace_back(candidate.name);
      throw UsageError(
          fmt::format("option '{}': expected {}, joined by commas, or '{}' alone", word, join_or(allowed), kNoOptions));
    }
    if (options.*option->value) throw UsageError(fmt::format("option '{}' is given twice in '{}'", word, text));
    options.*option->value = true;
  }
  return options;
}

std::string variant_name(const Problem& problem) {
  return fmt::format("{}.{}.{}.{}.{}", problem.family, problem.discretization, problem.dtype, problem.direction,
                     problem.backend);
}

std::string to_string(const Problem& problem) {
  std::string text = variant_name(problem);
  for (const ShapeAxis& axis : kShapeAxes) text += fmt::format(" {}={}", axis.name, problem.shape.*axis.value);
  text += fmt::format(" options={} fill={} seed={}", to_string(problem.options), problem.fill, problem.seed);
  if (problem.layout != MemoryLayout::contiguous) text += fmt::format(" layout={}", to_string(problem.layout));
  if (!problem.configuration.empty()) text += " config=" + problem.configuration;
  if (!problem.implementation.empty()) text += " implementation=" + problem.implementation;
  return text;
}

Problem parse_problem(std::string_view line) {
  Problem problem;
  std::set<std::string, std::less<>> seen;
  for (const std::string_view word : split(line, ' ')) {
    if (word.empty()) continue;
    const size_t equals = word.find('=');
    if (seen.empty()) {
      parse_variant(word, problem);
      seen.insert("variant");
      continue;
    }
    const std::string_view key = word.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : word.substr(equals + 1);
    const auto axis = std::find_if(std::begin(kShapeAxes), std::end(kShapeAxes),
                                   [&](const ShapeAxis& candidate) { return candidate.name == key; });
    if (equals == std::string_view::npos ||
        (axis == std::end(kShapeAxes) && key != "options" && key != "fill" && key != "seed" && key != "layout" &&
         key != "config" && key != "implementation")) {
      throw UsageError(
          fmt::format("problem '{}': '{}': expected batch=, dim=, seqlen=, dstate=, groups=, options=, fill=, seed=, "
                      "layout=, config= or implementation=",
                      line, word));
    }
    if (!seen.emplace(key).second) throw UsageError(fmt::format("problem '{}': {} is given twice", line, key));
    if (axis != std::end(kShapeAxes)) problem.shape.*axis->value = parse_integer(value, key);
    if (key == "options") problem.options = parse_options(value);
    if (key == "fill") problem.fill = value;
    if (key == "seed") problem.seed = parse_seed(value, "seed");
    if (key == "layout") problem.layout = parse_memory_layout(value);
    if (key == "config") problem.configuration = value;
    if (key == "implementation" && value != linked_library().name) problem.implementation = value;
  }
  for (const char* required : {"variant", "batch", "dim", "seqlen", "dstate"}) {
    if (!seen.contains(required)) throw UsageError(fmt::format("problem '{}': {} is missing", line, required));
  }
  if (!seen.contains("options")) drop_untaken_options(problem);
  validate(problem);
  return problem;
}

std::string implementation_of(const Problem& problem) {
  return problem.implementation.empty() ? linked_library().name : problem.implementation;
}

Problem without_implementation(Problem problem) {
  problem.implementation.clear();
  return problem;
}

void require_configuration(const std::string& text, const std::string& where) {
  if (text.empty() || std::any_of(text.begin(), text.end(), [](unsigned char c) { return std::isspace(c) || c < 32; }))
    throw UsageError(
        fmt::format("{}: configuration is '{}': expected key=value,key=value without spaces", where, text));
}

bool takes_option(const Problem& problem, bool Options::*option) {
  static const std::map<std::string, uint32_t> taken = [] {  // by discretization
    std::map<std::string, uint32_t> options;
    for (const Variant& variant : variants()) options[variant.discretization] |= variant.options;
    return options;
  }();
  if (option == &Options::save && problem.direction == "backward") return false;
  const auto row = std::ranges::find(kOptionNames, option, &OptionName::value);
  return taken.at(problem.discretization) & row->bit;
}

void drop_untaken_options(Problem& problem) {
  for (const OptionName& option : kOptionNames) {
    if (!takes_option(problem, option.value)) problem.options.*option.value = false;
  }
}

void validate(const Problem& problem) {
  const Shape& shape = problem.shape;
  if (shape.dim % shape.groups != 0) {
    throw UsageError(fmt::format("dim={} groups={}: dim must be divisible by groups", shape.dim, shape.groups));
  }
  constexpr int64_t kMaxState = 256;
  if (shape.dstate > kMaxState) {
    throw UsageError(fmt::format("dstate={}: expected 1 to {}", shape.dstate, kMaxState));
  }
  // Everything is stored in buffers counted in bytes; the largest tensors are (B, D, L) and (B, G, N, L).
  int64_t product = 2 * sizeof(float);
  for (const int64_t extent : {shape.batch, shape.dim, shape.seqlen, shape.dstate}) {
    if (__builtin_mul_overflow(product, extent, &product)) {
      throw UsageError(fmt::format("batch={} dim={} seqlen={} dstate={}: more than 2^63 bytes", shape.batch, shape.dim,
                                   shape.seqlen, shape.dstate));
    }
  }
  if (problem.options.save && problem.direction != "forward") {
    throw UsageError("option 'save' is for direction forward: the backward always has what the forward saved");
  }
  for (const OptionName& option : kOptionNames) {
    if (problem.options.*option.value && !takes_option(problem, option.value))
      throw UsageError(fmt::format("option '{}': {} does not take it", option.name, problem.discretization));
  }
  require_fill(problem.fill);
}

uint64_t data_seed(const Problem& problem) {
  Problem data = problem;
  data.direction = data.backend = data.configuration = data.implementation = "";
  data.layout = MemoryLayout::contiguous;
  data.fill = data.fill.substr(0, data.fill.find('+'));
  data.options.save = data.options.last_state = false;
  data.seed = 0;
  return hash_text(to_string(data)) ^ problem.seed;
}

}  // namespace lrnnx::bench
