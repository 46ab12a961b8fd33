// The result of a check as JSON, for files and between processes.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "harness/check.h"

namespace lrnnx::bench {

inline constexpr char kCheckSchema[] = "lrnnx-bench.check";
inline constexpr int kCheckSchemaVersion = 2;

nlohmann::ordered_json to_json(const CheckResult& result);
// The inverse; throws nlohmann::json::exception if a key is missing or of another type.
CheckResult check_result_from_json(const nlohmann::ordered_json& json);

nlohmann::ordered_json to_json(const CheckOptions& options);
CheckOptions check_options_from_json(const nlohmann::ordered_json& json);

}  // namespace lrnnx::bench
