// `compare OLD.json NEW.json`: which rows became slower?
#pragma once

namespace CLI {
class App;
}

namespace lrnnx::bench {

// Registers `compare`; its callback stores the exit code.
void add_compare_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
