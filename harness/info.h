// `info`: the machine, the build and the measured ceilings.
#pragma once

namespace CLI {
class App;
}

namespace lrnnx::bench {

int run_info(bool json);

// Registers `info`; its callback stores the exit code.
void add_info_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
