// One account for the process.
#include "harness/wall_time.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "harness/activity.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Name {
  Activity activity;
  const char* name;
  bool overhead;  // it is the harness that takes this time
};
constexpr std::array<Name, 7> kNames = {{{Activity::kernels, "kernels", false},
                                         {Activity::flush, "flush", false},
                                         {Activity::oracle, "oracle", false},
                                         {Activity::sampling, "sampling", true},
                                         {Activity::ceilings, "ceilings", true},
                                         {Activity::inputs, "inputs", true},
                                         {Activity::comparison, "comparison", true}}};

std::array<double, kNames.size()> g_seconds{};
Doing* g_innermost = nullptr;
Clock::time_point g_since;  // when the innermost went on

void book(Activity activity) {
  const Clock::time_point now = Clock::now();
  g_seconds[static_cast<size_t>(activity)] += std::chrono::duration<double>(now - g_since).count();
  g_since = now;
}

}  // namespace

// What goes on to measure the machine is that, whatever it consists of.
Doing::Doing(Activity activity)
    : activity_(g_innermost && g_innermost->activity_ == Activity::ceilings ? Activity::ceilings : activity),
      around_(g_innermost) {
  if (around_)
    book(around_->activity_);
  else
    g_since = Clock::now();
  g_innermost = this;
}

void Doing::credit(Activity other, double seconds) {
  if (activity_ == Activity::ceilings) return;
  g_seconds[static_cast<size_t>(other)] += seconds;
  g_seconds[static_cast<size_t>(activity_)] -= seconds;
}

Doing::~Doing() {
  book(activity_);
  g_innermost = around_;
}

Json take_wall_time() {
  Json seconds;
  for (const Name& row : kNames) seconds[row.name] = std::exchange(g_seconds[static_cast<size_t>(row.activity)], 0.0);
  return seconds;
}

void add_wall_time(const Json& seconds) {
  for (const Name& row : kNames) g_seconds[static_cast<size_t>(row.activity)] += seconds.at(row.name).get<double>();
}

Json with_total(Json seconds, double total) {
  double rest = total;
  for (const Name& row : kNames) rest -= seconds.at(row.name).get<double>();
  seconds["rest"] = rest;
  seconds["total"] = total;
  return seconds;
}

std::string wall_time_text(const Json& wall_time) {
  const double total = wall_time.at("total");
  const auto percent = [total](double seconds) { return total > 0 ? 100 * seconds / total : 0; };
  double overhead = wall_time.at("rest");
  std::string text = fmt::format("{:.1f} s:", total);
  for (const Name& row : kNames) {
    const double seconds = wall_time.at(row.name);
    if (row.overhead) overhead += seconds;
    text += fmt::format(" {} {:.1f} %,", row.name, percent(seconds));
  }
  return text + fmt::format(" rest {:.1f} %; overhead {:.1f} %", percent(wall_time.at("rest")), percent(overhead));
}

}  // namespace lrnnx::bench
