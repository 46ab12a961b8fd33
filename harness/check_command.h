// `check`: the subcommand around Checker.
#pragma once

namespace CLI {
class App;
}

namespace lrnnx::bench {

// Registers `check`; its callback stores the exit code.
void add_check_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
