// Is the reference itself right? Everything about it that can be known without it, in a few seconds and without a GPU.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace lrnnx::reference {

struct SelfTest {
  std::string name;                  // what must hold
  std::function<std::string()> run;  // says what does not hold; empty if all does
};
std::vector<SelfTest> self_tests();

struct SelfTestResult {
  std::string name;
  bool passed;
  std::string detail;  // what was found wrong, empty if nothing
};
// Runs them all; one that throws has failed.
std::vector<SelfTestResult> run_self_tests();

}  // namespace lrnnx::reference
