// What most tests include of other libraries, parsed once. Each still includes what it uses.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
