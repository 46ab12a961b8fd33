// Lines on stderr, and one that is rewritten on a terminal.
#include "harness/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "harness/output.h"

namespace lrnnx::bench {

Progress::Progress(std::size_t total, bool quiet, std::string label)
    : total_(total),
      to_do_(total),
      quiet_(quiet),
      live_(!quiet && label.empty() && ::isatty(STDERR_FILENO)),
      label_(std::move(label)) {}

void Progress::start(const std::vector<Problem>& contest) {
  name_ = to_string(contest.front());
  if (contest.size() > 1) name_ += fmt::format(" and {} other implementations", contest.size() - 1);
}

void Progress::doing(const char* phase) {
  if (live_) write_stderr(live_line(fmt::format("[{}/{}{}] {} {}", current_ + 1, total_, time_left(), phase, name_)));
}

void Progress::finish(const nlohmann::ordered_json& row) {
  const auto& problem = row.at("problem").get_ref<const std::string&>();
  if (problem != finished_) ++current_;  // else another cache state
  finished_ = problem;
  if (quiet_) return;
  const auto& median = row.at("median_ms");
  const auto& reason = row.at("reason");
  const std::string result = median.is_number()   ? fmt::format("{:.4f} ms", median.get<double>())
                             : reason.is_string() ? reason.get<std::string>()
                                                  : "";
  write_stderr(fmt::format("{}{}[{}/{}] {} {}: {}\n", live_ ? "\r\x1b[K" : "", label_, current_, total_,
                           row.at("verdict").get<std::string>(), problem, result));
}

void Progress::count() {
  ++current_;
  if (live_) return write_stderr("\r\x1b[K");  // what the caller prints begins on a line of its own
  const auto now = std::chrono::steady_clock::now();
  if (quiet_ || now - said_ < interval) return;
  said_ = now;
  write_stderr(fmt::format("{}[{}/{}{}]\n", label_, current_, total_, time_left()));
}

// ", 12 a minute, 3 min left", once there is something to go by.
std::string Progress::time_left() const {
  const std::size_t finished = current_ - skipped_;
  if (finished == 0) return "";
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  const double each = seconds / static_cast<double>(finished);
  return fmt::format(", {:.{}f} a minute, {} left", 60 / each, each < 6 ? 0 : 1,
                     duration_text(each * static_cast<double>(to_do_ - std::min(finished, to_do_))));
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<long>(std::ceil(seconds));
  if (whole < 90) return fmt::format("{} s", whole);
  if (whole < 90 * 60) return fmt::format("{} min", (whole + 59) / 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace lrnnx::bench
