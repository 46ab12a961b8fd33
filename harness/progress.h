// What a long run says on stderr: a line a result, and on a terminal also what is being done and how long it will take.
#pragma once

#include <chrono>
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lrnnx::bench {

class Progress {
 public:
  Progress(std::size_t total, bool quiet);

  void skip() { ++current_, --to_do_; }  // done in an earlier run
  void start(const std::string& problem);
  void doing(const char* phase);
  void finish(const nlohmann::ordered_json& row);

 private:
  std::string time_left() const;

  std::size_t total_, to_do_, current_ = 0, started_ = 0;
  bool quiet_, live_;
  std::string name_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// "45 s", "12 min", "3 h 20 min"
std::string duration_text(double seconds);

}  // namespace lrnnx::bench
