// What most files of the harness include of other libraries, parsed once. Each still includes what it uses.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
