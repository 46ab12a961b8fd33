// Lines of JSON, appended and read back.
#include "harness/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "harness/error.h"
#include "harness/files.h"
#include "harness/strict_json.h"

namespace lrnnx::bench {
namespace {

// Opens it to append, for this process alone: two sweeps with one journal would take each other's lines away.
int open_alone(const std::string& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_WRONLY | O_APPEND | O_CLOEXEC, 0666);
  if (file < 0) throw SystemError(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  if (::flock(file, LOCK_EX | LOCK_NB) == 0) return file;
  ::close(file);
  throw UsageError(fmt::format("journal {}: another sweep is writing it", path));
}

using Json = nlohmann::ordered_json;

constexpr char kJournalSchema[] = "lrnnx-bench.journal";
constexpr int kJournalSchemaVersion = 1;

// Sentences, empty if `found` is the journal of `plan`.
std::vector<std::string> plan_differences(const Json& found, const Plan& plan, bool allow_mixed) {
  std::vector<std::string> sentences;
  if (!allow_mixed) {
    sentences = machine_differences(found.at("environment"), plan.environment);
    const std::vector<std::string> builds = build_differences(found.at("environment"), plan.environment);
    sentences.insert(sentences.end(), builds.begin(), builds.end());
  }
  for (const auto& [key, value] : plan.timing.items()) {
    if (const Json before = found.at("timing").value(key, Json()); before != value)
      sentences.push_back(fmt::format("{}: {} and {}", key, before.dump(), value.dump()));
  }
  const std::vector<std::string> problems = found.at("problems");
  if (problems != plan.problems)
    sentences.push_back(
        fmt::format("its {} problems are not the {} of this sweep", problems.size(), plan.problems.size()));
  return sentences;
}

}  // namespace

Journal Journal::create(const std::string& path, const Plan& plan) {
  Journal journal(path);
  if (std::filesystem::exists(path)) {
    if (!std::filesystem::is_regular_file(path)) throw UsageError(fmt::format("journal {}: is not a file", path));
    ::close(open_alone(path, 0));
    std::error_code error;
    std::filesystem::rename(path, path + ".old", error);
    if (error) throw SystemError(fmt::format("cannot rename {} to {}.old: {}", path, path, error.message()));
  }
  journal.file_ = open_alone(path, O_CREAT | O_EXCL);
  journal.environment_ = plan.environment;
  journal.write({{"schema", kJournalSchema},
                 {"schema_version", kJournalSchemaVersion},
                 {"environment", plan.environment},
                 {"timing", plan.timing},
                 {"problems", plan.problems}});
  return journal;
}

Journal Journal::open(const std::string& path, const Plan& plan, bool allow_mixed) {
  Journal journal(path);
  journal.file_ = open_alone(path, 0);
  const size_t end = journal.learn(read_file(path), plan, allow_mixed);
  if (end == 0) {  // not even the first line was whole
    ::close(std::exchange(journal.file_, -1));
    return create(path, plan);
  }
  if (::truncate(path.c_str(), static_cast<off_t>(end)) != 0)
    throw SystemError(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  return journal;
}

Journal Journal::read(const std::string& path, const Plan& plan, bool allow_mixed) {
  Journal journal(path);
  journal.learn(read_file(path), plan, allow_mixed);
  return journal;
}

size_t Journal::learn(const std::string& text, const Plan& plan, bool allow_mixed) {
  size_t begin = 0;
  for (size_t number = 1, end = 0; (end = text.find('\n', begin)) != text.npos; begin = end + 1, ++number) {
    try {
      const Json line = parse_json(text.substr(begin, end - begin), fmt::format("{}: line {}", path_, number));
      if (number == 1) {
        if (line.at("schema") != kJournalSchema || line.at("schema_version") != kJournalSchemaVersion)
          throw UsageError(fmt::format("{}: not a journal of this version of sweep", path_));
        if (const auto sentences = plan_differences(line, plan, allow_mixed); !sentences.empty())
          throw UsageError(fmt::format("--resume: {} is of another sweep ({}){}", path_, fmt::join(sentences, "; "),
                                       allow_mixed ? "" : "; --allow-mixed overlooks machine and build"));
        environment_ = line.at("environment");
      } else {
        Rows rows = line.at("rows").get<Rows>();
        if (rows.empty()) throw UsageError(fmt::format("{}: line {}: no rows", path_, number));
        for (const Json& row : rows) {
          require_row(row, fmt::format("{}: line {}", path_, number));
          if (row.at("problem") != line.at("problem"))
            throw UsageError(fmt::format("{}: line {}: has a row of another problem", path_, number));
        }
        done_[line.at("problem")] = std::move(rows);
        for (const auto& [backend, measured] : line.at("ceilings").items())
          ceilings_.insert_or_assign(backend, ceilings_from_json(measured));
      }
    } catch (const Json::exception& error) {
      throw UsageError(fmt::format("{}: line {}: {}", path_, number, error.what()));
    }
  }
  return begin;
}

Journal::Journal(Journal&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      done_(std::move(other.done_)),
      ceilings_(std::move(other.ceilings_)),
      environment_(std::move(other.environment_)) {}

Journal::~Journal() {
  if (file_ >= 0) ::close(file_);
}

void Journal::add(const std::string& problem, const Rows& rows, const std::map<std::string, Ceilings>& ceilings) {
  Json measured = Json::object();
  for (const auto& [backend, values] : ceilings) measured[backend] = to_json(values);
  write({{"problem", problem}, {"rows", rows}, {"ceilings", measured}});
}

void Journal::write(const Json& line) {
  const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t written = ::write(file_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw SystemError(fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
    rest.remove_prefix(static_cast<size_t>(written));
  }
  if (::fdatasync(file_) != 0 && errno != EINVAL)  // EINVAL: a pipe or a device
    throw SystemError(fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
}

}  // namespace lrnnx::bench
