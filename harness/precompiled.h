// What most files of the harness include of other libraries, parsed once. Each still includes what it uses. Not CLI11,
// which few need: its header defines objects, and each file that sees it compiles what makes them.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
