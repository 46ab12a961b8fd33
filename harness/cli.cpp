// Parses the command line, and turns what is thrown into a message and an exit code.
#include "harness/cli.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "harness/backend.h"
#include "harness/build_info.h"
#include "harness/check_command.h"
#include "harness/compare_command.h"
#include "harness/error.h"
#include "harness/info.h"
#include "harness/list.h"
#include "harness/merge.h"
#include "harness/output.h"
#include "harness/report.h"
#include "harness/sweep.h"
#include "harness/words.h"
#include "harness/worker.h"

namespace lrnnx::bench {
namespace {

constexpr const char* kDescription =
    "lrnnx-bench: are the kernels of linear recurrent networks right, and how fast are they?";

constexpr const char* kFooter =
    "Examples:\n"
    "  lrnnx-bench list                               what can be run here\n"
    "  lrnnx-bench check                              is every variant right? (suites/check-quick.json)\n"
    "  lrnnx-bench check -f '*.backward.*' -b cpu     only these, on the processor\n"
    "  lrnnx-bench sweep -a seqlen=[2^10:2^16:x2]     how fast, over these lengths\n"
    "  lrnnx-bench compare old.json new.json          what became slower\n"
    "lrnnx-check is lrnnx-bench check. Data go to stdout, progress and messages to stderr; NO_COLOR is honoured.\n"
    "Exit code: 0 fine, 1 wrong numbers or an impossible time, 2 usage, 3 CUDA or system error, 4 nothing ran,\n"
    "5 slower than what it is compared with, 6 ambiguous (with --strict), 130, 143 or 129 ended by a signal.";

std::string version_text() {
  return fmt::format(
      "lrnnx-bench {} (C ABI {}, {}{}{})", kVersion, lrnnx_abi_version(), kCudaCompiler[0] ? "CUDA " : "without CUDA",
      kCudaCompiler,
      kGitCommit[0] ? fmt::format(", commit {:.12}{}", kGitCommit, kGitDirty ? " and changes" : "") : "");
}

// CLI11 takes them reversed. A program called lrnnx-check is the subcommand check.
std::vector<std::string> arguments(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  if (argc > 0 && std::filesystem::path(argv[0]).filename() == "lrnnx-check") words.insert(words.begin(), "check");
  std::reverse(words.begin(), words.end());
  return words;
}

// Those that help mentions.
std::vector<std::string> subcommand_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* any) { return !any->get_group().empty(); }))
    names.push_back(command->get_name());
  return names;
}

void complain(const std::string& message) {
  write_stderr(fmt::format("{} {}\n", colored("error:", Color::red, stderr), message));
}

}  // namespace

int run_cli(int argc, char** argv) {
  // A standard stream that is closed would be the next file or socket that is opened.
  int file = 0;
  while (file >= 0 && file <= STDERR_FILENO) file = ::open("/dev/null", O_RDWR);
  if (file >= 0) ::close(file);
  int exit_code = static_cast<int>(ExitCode::ok);
  CLI::App app(kDescription, "lrnnx-bench");
  app.footer(kFooter);
  app.set_version_flag("--version", version_text());
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.fallthrough();             // so that `lrnnx-check --version` works; subcommands inherit it
  app.require_subcommand(0, 1);  // checked below: CLI11 would say so of a mistyped one too
  add_list_command(app, exit_code);
  add_check_command(app, exit_code);
  add_sweep_command(app, exit_code);
  add_compare_command(app, exit_code);
  add_merge_command(app, exit_code);
  add_report_command(app, exit_code);
  add_info_command(app, exit_code);
  add_worker_command(app, exit_code);
  try {
    app.parse(arguments(argc, argv));
    if (app.get_subcommands().empty())
      throw UsageError(fmt::format("a subcommand is missing: expected {}", join_or(subcommand_names(app))));
  } catch (const CLI::Success& asked) {  // --help, --version
    app.exit(asked);
    return static_cast<int>(ExitCode::ok);
  } catch (const CLI::ParseError& error) {
    const bool unknown = app.get_subcommands().empty() && argc > 1 && argv[1][0] != '-';
    complain(unknown ? fmt::format("unknown subcommand '{}': expected {}", argv[1], join_or(subcommand_names(app)))
                     : error.what());
    write_stderr("lrnnx-bench --help lists what is allowed\n");
    return static_cast<int>(ExitCode::usage);
  } catch (const Error& error) {
    complain(error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    complain(error.what());
    return static_cast<int>(ExitCode::system);
  }
  return exit_code;
}

}  // namespace lrnnx::bench
