// `list`: the variants of every implementation, the backends and the fills.
#include "harness/list.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "harness/backend.h"
#include "harness/error.h"
#include "harness/fill.h"
#include "harness/flags.h"
#include "harness/implementations.h"
#include "harness/operators.h"
#include "harness/output.h"
#include "harness/shapes.h"
#include "harness/variants.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

struct ListFlags {
  std::string filter;
  std::vector<std::string> libraries;
  double patience_seconds = kPatienceSeconds;
  bool json = false, fills = false;
};

struct Listed {
  std::string implementation;
  Variant variant;
};

std::vector<Listed> selected_variants(const std::vector<Implementation>& implementations, const std::string& filter) {
  std::vector<Listed> selected;
  std::vector<std::string> names;
  for (const Implementation& implementation : implementations)
    for (const Variant& variant : implementation.variants) {
      if (std::ranges::find(names, variant.name()) == names.end()) names.push_back(variant.name());
      if (filter.empty() || glob_matches(filter, variant.name())) selected.push_back({implementation.name, variant});
    }
  if (selected.empty())
    throw UsageError(fmt::format("--filter '{}' matches none of the {} variants, such as {}; without it list names all",
                                 filter, names.size(), names.front()));
  return selected;
}

std::string availability(const std::string& name) {
  const auto reason = backend(name).unavailable();
  return reason ? "skipped: " + *reason : "available";
}

// A library may know others.
bool is_known_backend(const std::string& name) {
  const std::vector<std::string> names = backend_names();
  return std::ranges::find(names, name) != names.end();
}

// The shape that the keys of launch configurations are listed for: with one state some kernels are others.
Problem listed_problem(const Variant& variant, int64_t dstate) {
  Problem problem = parse_problem(fmt::format("{} batch=8 dim=2048 seqlen=2048 dstate={}", variant.name(), dstate));
  drop_untaken_options(problem);
  return problem;
}

// Of what is linked in; what is loaded is asked in a child process, and only for its variants.
std::optional<std::string> configuration_keys(const std::string& implementation, const Variant& variant,
                                              int64_t dstate) {
  for (const Library* library : linked_libraries())
    if (library->name == implementation)
      return find_operator(variant.family).configuration_keys(listed_problem(variant, dstate), *library);
  return {};
}

// "lanes=8|16,splits=1..64" as {"lanes": [8, 16], "splits": {"from": 1, "to": 64}}
Json keys_json(const std::string& text) {
  Json keys = Json::object();
  std::istringstream items(text);
  for (std::string item; std::getline(items, item, ',');) {
    const size_t equals = item.find('='), dots = item.find("..");
    Json& values = keys[item.substr(0, equals)];
    if (dots != std::string::npos) {
      values = {{"from", parse_integer(item.substr(equals + 1, dots - equals - 1), "from")},
                {"to", parse_integer(item.substr(dots + 2), "to")}};
      continue;
    }
    std::istringstream numbers(item.substr(equals + 1));
    for (std::string number; std::getline(numbers, number, '|');) values.push_back(parse_integer(number, "value"));
  }
  return keys;
}

constexpr int64_t kStates = 16;  // of the table

Json all_keys_json(const std::string& implementation, const Variant& variant) {
  Json all = Json::array();
  for (const int64_t dstate : {kStates, int64_t{1}})
    if (const auto text = configuration_keys(implementation, variant, dstate))
      all.push_back({{"dstate", dstate}, {"keys", keys_json(*text)}});
  return all.empty() ? Json(nullptr) : all;
}

std::string variants_text(const std::vector<Implementation>& implementations, const std::vector<Listed>& selected) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [implementation, variant] : selected) {
    const auto row = std::ranges::find(rows, variant.name(), [](const auto& cells) { return cells.front(); });
    if (row != rows.end())
      row->at(1) += ", " + implementation;
    else
      rows.push_back({variant.name(), implementation,
                      configuration_keys(implementation, variant, kStates).value_or("-"),
                      is_known_backend(variant.backend) ? availability(variant.backend) : "skipped: unknown backend"});
  }
  std::string text = format_table({{"variant"}, {"implementations"}, {"configuration"}, {"status"}}, rows) + '\n';
  rows.clear();
  for (const std::string& name : backend_names()) {
    rows.push_back({name, backend(name).unavailable() ? "-" : backend(name).device_name(), availability(name)});
  }
  text += format_table({{"backend"}, {"device"}, {"status"}}, rows);
  for (const Implementation& implementation : implementations)
    if (!implementation.error.empty())
      text += fmt::format("\n{}: {}: {}\n", colored("error", Color::red), implementation.name, implementation.error);
  return text;
}

Json variants_json(const std::vector<Implementation>& implementations, const std::vector<Listed>& selected) {
  Json list = Json::array(), backends = Json::array(), libraries = Json::array();
  for (const auto& [implementation, variant] : selected) {
    list.push_back({{"name", variant.name()},
                    {"implementation", implementation},
                    {"family", variant.family},
                    {"discretization", variant.discretization},
                    {"dtype", variant.dtype},
                    {"direction", variant.direction},
                    {"backend", variant.backend},
                    {"available", is_known_backend(variant.backend) && !backend(variant.backend).unavailable()},
                    {"configuration_keys", all_keys_json(implementation, variant)}});
  }
  for (const std::string& name : backend_names()) {
    const auto reason = backend(name).unavailable();
    backends.push_back({{"name", name},
                        {"available", !reason},
                        {"device", reason ? Json(nullptr) : Json(backend(name).device_name())},
                        {"reason", reason ? Json(*reason) : Json(nullptr)}});
  }
  for (const Implementation& implementation : implementations)
    libraries.push_back({{"name", implementation.name},
                         {"path", implementation.file ? Json(implementation.file->path) : Json(nullptr)},
                         {"variants", implementation.variants.size()},
                         {"error", implementation.error.empty() ? Json(nullptr) : Json(implementation.error)}});
  return {{"variants", list}, {"backends", backends}, {"implementations", libraries}};
}

Json fills_json() {
  Json list = Json::array();
  for (const auto& [kind, fills] : {std::pair("base", fill_bases()), std::pair("modifier", fill_modifiers())}) {
    for (const Fill& fill : fills)
      list.push_back({{"name", fill.name}, {"kind", kind}, {"description", fill.description}});
  }
  return {{"fills", list}};
}

}  // namespace

std::string fills_text() {
  std::vector<std::vector<std::string>> rows;
  for (const Fill& fill : fill_bases()) rows.push_back({fill.name, fill.description});
  for (const Fill& fill : fill_modifiers()) rows.push_back({fmt::format("+{}", fill.name), fill.description});
  return format_table({{"fill"}, {"inputs"}}, rows) +
         "Modifiers follow a base: fill=slow+zero_dt. One without a meaning for a problem makes it skipped.\n";
}

std::string shapes_text() {
  std::vector<std::vector<std::string>> sets, layouts;
  for (const ShapeSet& set : shape_sets())
    sets.push_back({fmt::format("{}={}", set.axis, set.name), set.values, set.description});
  for (const MemoryLayoutName& layout : memory_layout_names())
    layouts.push_back({fmt::format("layout={}", layout.name), layout.description});
  return format_table({{"sizes"}, {"values"}, {"why"}}, sets) + '\n' + format_table({{"layout"}, {"memory"}}, layouts);
}

namespace {

ExitCode run_list(const ListFlags& flags) {
  if (flags.fills) return write_stdout(flags.json ? fills_json().dump(2) + '\n' : fills_text()), ExitCode::ok;
  const std::vector<Implementation> implementations = find_implementations(flags.libraries, flags.patience_seconds);
  const std::vector<Listed> selected = selected_variants(implementations, flags.filter);
  write_stdout(flags.json ? variants_json(implementations, selected).dump(2) + '\n'
                          : variants_text(implementations, selected));
  const bool sound = std::ranges::all_of(implementations, [](const Implementation& i) { return i.error.empty(); });
  return sound ? ExitCode::ok : ExitCode::system;
}

}  // namespace

void add_list_command(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<ListFlags>();
  CLI::App* command = app.add_subcommand("list", "List the kernel variants, and the backends that can run here");
  auto* filter = command->add_option("-f,--filter", flags->filter, "Only variants whose name matches, such as '*.cuda'")
                     ->type_name("GLOB");
  add_library_flag(*command, flags->libraries);
  add_patience_flag(*command, flags->patience_seconds);
  command->add_flag("--list-fills,--fills", flags->fills, "List the named generators of inputs instead")
      ->excludes(filter);
  command->add_flag("--json", flags->json, "As JSON");
  command->callback([flags, &exit_code] { exit_code = static_cast<int>(run_list(*flags)); });
}

}  // namespace lrnnx::bench
