// `list`: the variants of the library, the backends and the fills.
#include "harness/list.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "harness/backend.h"
#include "harness/error.h"
#include "harness/fill.h"
#include "harness/output.h"
#include "harness/shapes.h"
#include "harness/variants.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string filter;
  bool json = false, fills = false;
};

std::vector<Variant> selected_variants(const std::string& filter) {
  std::vector<Variant> selected;
  std::vector<std::string> names;
  for (const Variant& variant : variants()) {
    names.push_back(variant.name());
    if (filter.empty() || glob_matches(filter, variant.name())) selected.push_back(variant);
  }
  if (selected.empty()) {
    throw UsageError(fmt::format("--filter '{}' matches no variant: {}", filter, join_or(names)));
  }
  return selected;
}

std::string availability(const std::string& name) {
  const auto reason = backend(name).unavailable();
  return reason ? "skipped: " + *reason : "available";
}

std::string variants_text(const std::vector<Variant>& selected) {
  std::vector<std::vector<std::string>> rows;
  for (const Variant& variant : selected) rows.push_back({variant.name(), availability(variant.backend)});
  std::string text = format_table({{"variant"}, {"status"}}, rows) + '\n';
  rows.clear();
  for (const std::string& name : backend_names()) {
    rows.push_back({name, backend(name).unavailable() ? "-" : backend(name).device_name(), availability(name)});
  }
  return text + format_table({{"backend"}, {"device"}, {"status"}}, rows);
}

Json variants_json(const std::vector<Variant>& selected) {
  Json list = Json::array(), backends = Json::array();
  for (const Variant& variant : selected) {
    list.push_back({{"name", variant.name()},
                    {"family", variant.family},
                    {"discretization", variant.discretization},
                    {"dtype", variant.dtype},
                    {"direction", variant.direction},
                    {"backend", variant.backend},
                    {"available", !backend(variant.backend).unavailable()}});
  }
  for (const std::string& name : backend_names()) {
    const auto reason = backend(name).unavailable();
    backends.push_back({{"name", name},
                        {"available", !reason},
                        {"device", reason ? Json(nullptr) : Json(backend(name).device_name())},
                        {"reason", reason ? Json(*reason) : Json(nullptr)}});
  }
  return {{"variants", list}, {"backends", backends}};
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

void run_list(const Flags& flags) {
  if (flags.fills) return write_stdout(flags.json ? fills_json().dump(2) + '\n' : fills_text());
  const std::vector<Variant> selected = selected_variants(flags.filter);
  write_stdout(flags.json ? variants_json(selected).dump(2) + '\n' : variants_text(selected));
}

}  // namespace

void add_list_command(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("list", "List the kernel variants, and the backends that can run here");
  auto* filter = command->add_option("-f,--filter", flags->filter, "Only variants whose name matches, such as '*.cuda'")
                     ->type_name("GLOB");
  command->add_flag("--list-fills,--fills", flags->fills, "List the named generators of inputs instead")
      ->excludes(filter);
  command->add_flag("--json", flags->json, "As JSON");
  command->callback([flags, &exit_code] {
    run_list(*flags);
    exit_code = static_cast<int>(ExitCode::ok);
  });
}

}  // namespace lrnnx::bench
