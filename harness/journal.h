// What a sweep has done so far, on disk: one line of JSON a problem, there as soon as the problem is.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "harness/results.h"

namespace lrnnx::bench {

// What a sweep is about to do; a journal continues only the same.
struct Plan {
  nlohmann::ordered_json environment;
  nlohmann::ordered_json timing;
  std::vector<std::string> problems;  // lines
};

class Journal {
 public:
  using Rows = std::vector<nlohmann::ordered_json>;

  // A new file with the plan in its first line. Whatever lies there is renamed to PATH.old. Throws SystemError.
  static Journal create(const std::string& path, const Plan& plan);

  // Goes on with a file that create() began. A line that was cut off in the middle is dropped. Throws UsageError naming
  // what differs if it is the journal of another plan (another machine or build only if not `allow_mixed`).
  static Journal open(const std::string& path, const Plan& plan, bool allow_mixed);

  // The same, to look at: nothing is written, and it may be that a sweep is writing it.
  static Journal read(const std::string& path, const Plan& plan, bool allow_mixed);

  Journal(Journal&& other) noexcept;
  ~Journal();

  // One write, flushed to the disk.
  void add(const std::string& problem, const Rows& rows, const std::map<std::string, Ceilings>& ceilings);

  const std::map<std::string, Rows>& done() const { return done_; }  // by problem line
  const std::map<std::string, Ceilings>& ceilings() const { return ceilings_; }
  // Of the run that began the journal.
  const nlohmann::ordered_json& environment() const { return environment_; }

 private:
  explicit Journal(std::string path) : path_(std::move(path)) {}
  // What the whole lines of `text` hold; returns how long they are.
  size_t learn(const std::string& text, const Plan& plan, bool allow_mixed);
  void write(const nlohmann::ordered_json& line);

  std::string path_;
  int file_ = -1;
  std::map<std::string, Rows> done_;
  std::map<std::string, Ceilings> ceilings_;
  nlohmann::ordered_json environment_;
};

}  // namespace lrnnx::bench
