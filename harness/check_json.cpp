// Results of checks to JSON and back.
#include "harness/check_json.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "harness/error.h"
#include "harness/strict_json.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

Json number_json(std::complex<double> number, bool complex) {
  return complex ? Json::array({json_number(number.real()), json_number(number.imag())}) : json_number(number.real());
}

Json comparison_json(const Comparison& tensor) {
  Json extents = Json::array();
  for (const Extent& extent : tensor.extents) {
    extents.push_back({{"axis", extent.axis},
                       {"size", extent.size},
                       {"first", extent.first},
                       {"last", extent.last},
                       {"distinct", extent.distinct}});
  }
  return {{"name", tensor.name},
          {"status", to_string(tensor.status)},
          {"reason", tensor.reason},
          {"expected_count", tensor.expected_count},
          {"compared", tensor.compared},
          {"rho", json_number(tensor.rho)},
          {"S1", json_number(tensor.S1)},
          {"S2", json_number(tensor.S2)},
          {"T1", json_number(tensor.T1)},
          {"rel_l2", json_number(tensor.rel_l2)},
          {"max_abs_error", json_number(tensor.max_abs_error)},
          {"max_abs_reference", json_number(tensor.max_abs_reference)},
          {"worst_index", tensor.worst_index},
          {"worst_got", number_json(tensor.worst_got, tensor.complex)},
          {"worst_expected", number_json(tensor.worst_expected, tensor.complex)},
          {"worst_allowed", json_number(tensor.worst_allowed)},
          {"wrong", tensor.wrong},
          {"extents", extents}};
}

double number_of(const Json& json) {
  return json.is_string() ? std::strtod(json.get<std::string>().c_str(), nullptr) : json.get<double>();
}
std::complex<double> complex_of(const Json& json) {
  if (json.is_array()) return {number_of(json.at(0)), number_of(json.at(1))};
  return number_of(json);
}

// The enumerator of that name. Throws SystemError if there is none: no word may pass for "passed".
template <class Enum, size_t count>
Enum named(const Enum (&values)[count], const Json& name) {
  for (const Enum value : values)
    if (name == to_string(value)) return value;
  throw SystemError(fmt::format("the result of a check has the unknown word {}", name.dump()));
}

Comparison comparison_from_json(const Json& json) {
  Comparison tensor;
  tensor.name = json.at("name");
  tensor.status = named(kStatuses, json.at("status"));
  tensor.reason = json.at("reason");
  tensor.expected_count = json.at("expected_count");
  tensor.compared = json.at("compared");
  tensor.rho = number_of(json.at("rho"));
  tensor.S1 = number_of(json.at("S1"));
  tensor.S2 = number_of(json.at("S2"));
  tensor.T1 = number_of(json.at("T1"));
  tensor.rel_l2 = number_of(json.at("rel_l2"));
  tensor.max_abs_error = number_of(json.at("max_abs_error"));
  tensor.max_abs_reference = number_of(json.at("max_abs_reference"));
  tensor.worst_index = json.at("worst_index").get<std::vector<int64_t>>();
  tensor.worst_got = complex_of(json.at("worst_got"));
  tensor.worst_expected = complex_of(json.at("worst_expected"));
  tensor.worst_allowed = number_of(json.at("worst_allowed"));
  tensor.complex = json.at("worst_got").is_array();
  tensor.wrong = json.at("wrong");
  for (const Json& extent : json.at("extents"))
    tensor.extents.push_back({.axis = extent.at("axis"),
                              .size = extent.at("size"),
                              .first = extent.at("first"),
                              .last = extent.at("last"),
                              .distinct = extent.at("distinct")});
  return tensor;
}

}  // namespace

Json to_json(const CheckResult& result) {
  Json tensors = Json::array();
  for (const Comparison& tensor : result.tensors) tensors.push_back(comparison_json(tensor));
  return {{"problem", to_string(result.problem)},
          {"implementation", implementation_of(result.problem)},
          {"status", to_string(result.status)},
          {"exit_code", static_cast<int>(result.exit_code)},
          {"skip_reason", result.status == Status::skipped ? Json(to_string(result.skip_reason)) : Json(nullptr)},
          {"reason", result.reason},
          {"deterministic", result.reruns > 0 ? Json(result.deterministic) : Json(nullptr)},
          {"reruns", result.reruns},
          {"configuration", result.configuration},
          {"dumped", result.dumped.empty() ? Json(nullptr) : Json(result.dumped)},
          {"seconds", result.seconds},
          {"tensors", tensors}};
}

CheckResult check_result_from_json(const Json& json) {
  CheckResult result;
  result.problem = parse_problem(json.at("problem").get<std::string>());
  result.status = named(kStatuses, json.at("status"));
  if (result.status == Status::skipped) result.skip_reason = named(kSkipReasons, json.at("skip_reason"));
  result.exit_code = static_cast<ExitCode>(json.at("exit_code").get<int>());
  result.reason = json.at("reason");
  result.deterministic = json.at("deterministic").is_null() || json.at("deterministic").get<bool>();
  result.reruns = json.at("reruns");
  result.configuration = json.at("configuration");
  if (json.at("dumped").is_string()) result.dumped = json.at("dumped");
  result.seconds = json.at("seconds");
  for (const Json& tensor : json.at("tensors")) result.tensors.push_back(comparison_from_json(tensor));
  return result;
}

Json to_json(const CheckOptions& options) {
  return {{"reruns", options.reruns}, {"dump", options.dump}, {"dump_all", options.dump_all}};
}

CheckOptions check_options_from_json(const Json& json) {
  return {.reruns = json.at("reruns"), .dump = json.at("dump"), .dump_all = json.at("dump_all")};
}

}  // namespace lrnnx::bench
