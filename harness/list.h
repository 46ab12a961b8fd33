// `list`: what can be run here, and with which inputs.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace lrnnx::bench {

std::string fills_text();
std::string shapes_text();

// Registers `list`; its callback stores the exit code.
void add_list_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
