// The command line: subcommands, help, exit codes.
#pragma once

namespace lrnnx::bench {

// Everything behind main(); returns the exit code.
int run_cli(int argc, char** argv);

}  // namespace lrnnx::bench
