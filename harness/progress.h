// What a long run says on stderr: a line a result, or one now and then; and on a terminal also what is being done and
// how long it will take.
#pragma once

#include <chrono>
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "harness/problem.h"

namespace lrnnx::bench {

class Progress {
 public:
  // A line begins with `label`; a line that is rewritten is only for who has the terminal for himself, without one.
  Progress(std::size_t total, bool quiet, std::string label = "");

  void skip() { ++current_, ++skipped_, --to_do_; }  // done in an earlier run
  void start(const std::vector<Problem>& contest);
  void doing(const char* phase);
  void finish(const nlohmann::ordered_json& row);

  // Instead, for results too many to name each: one more is there. Where no line can be rewritten it says how far it is
  // after each `interval`.
  void count();
  std::chrono::duration<double> interval{10};

 private:
  std::string time_left() const;

  std::size_t total_, to_do_, current_ = 0, skipped_ = 0;
  std::string finished_;  // problem of the last row
  bool quiet_, live_;
  std::string label_, name_;  // of what is being done
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), said_ = begin_;
};

// "45 s", "12 min", "3 h 20 min"
std::string duration_text(double seconds);

}  // namespace lrnnx::bench
