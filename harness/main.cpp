// lrnnx-bench.
#include "harness/cli.h"

int main(int argc, char** argv) { return lrnnx::bench::run_cli(argc, argv); }
