// Writes JUnit XML.
#include "harness/junit.h"

#include <fmt/format.h>

#include <algorithm>

namespace lrnnx::bench {
namespace {

std::string escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\n':
        escaped += "&#10;";
        break;
      default:
        escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;  // XML has no other control characters
    }
  }
  return escaped;
}

std::string verdict_text(const CheckResult& result) {
  const std::string reason = escape(result.reason);
  switch (result.status) {
    case Status::passed:
      return "";
    case Status::failed:
      return fmt::format("<failure message=\"{}\"/>", reason);
    case Status::error:
      return fmt::format("<error message=\"{}\"/>", reason);
    case Status::mistrusted:
      return fmt::format("<skipped message=\"mistrusted: {}\"/>", reason);
    case Status::skipped:
      return fmt::format("<skipped message=\"{}: {}\"/>", to_string(result.skip_reason), reason);
  }
  return "";
}

struct Suite {
  std::string name, cases;
  int64_t tests = 0, failures = 0, errors = 0, skipped = 0;
  double seconds = 0;

  void add(const CheckResult& result) {
    ++tests;
    failures += result.status == Status::failed;
    errors += result.status == Status::error;
    skipped += result.status == Status::skipped || result.status == Status::mistrusted;
    seconds += result.seconds;
    cases += fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{:.6f}\">{}</testcase>\n", name,
                         escape(to_string(result.problem)), result.seconds, verdict_text(result));
  }
};

}  // namespace

std::string junit_text(const std::vector<CheckResult>& results) {
  std::vector<Suite> suites;  // in order of appearance
  Suite total;
  for (const CheckResult& result : results) {
    const Problem& problem = result.problem;
    const std::string name =
        escape(variant_name(problem) + (problem.implementation.empty() ? "" : " of " + problem.implementation));
    auto suite = std::find_if(suites.begin(), suites.end(), [&](const Suite& s) { return s.name == name; });
    if (suite == suites.end()) suite = suites.insert(suite, Suite{.name = name, .cases = {}});
    suite->add(result);
    total.add(result);
  }
  const auto attributes = [](const Suite& s) {
    return fmt::format("tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.6f}\"", s.tests, s.failures,
                       s.errors, s.skipped, s.seconds);
  };
  std::string text = fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"lrnnx-check\" {}>\n",
                                 attributes(total));
  for (const Suite& suite : suites)
    text += fmt::format("  <testsuite name=\"{}\" {}>\n{}  </testsuite>\n", suite.name, attributes(suite), suite.cases);
  return text + "</testsuites>\n";
}

}  // namespace lrnnx::bench
