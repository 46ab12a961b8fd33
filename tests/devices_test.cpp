// `sweep --devices` from the outside. On the CPU backend, which takes no notice of which GPU it is told to see: what is
// tested is how the work is split, joined, interrupted and resumed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "harness/backend.h"
#include "tests/run_program.h"

namespace lrnnx::bench::devices_test {
namespace {

using Json = nlohmann::json;

const std::string kProblems =
    "sweep -q --backend cpu --no-check --warm --min-samples 2 --max-noise 1e9 -a batch=1 -a dim=8 -a groups=1 "
    "-a dstate=2 -a options=B,C -a seqlen=3:9 ";
const std::string kSelection = kProblems + "--min-time 0 ";

std::vector<std::string> problems_of(const Json& json) {
  std::vector<std::string> problems;
  for (const Json& row : json.at("results")) problems.push_back(row.at("problem"));
  return problems;
}

TEST(Devices, TogetherDoTheSweepOfOne) {
  const TemporaryDirectory directory;
  const std::string whole = directory / "whole.json", out = directory / "out";
  ASSERT_EQ(run_program(kSelection + "--json " + whole).exit_code, 0);
  const ProgramResult result = run_program(kSelection + "--devices 0,2,1 --markdown - --out " + out);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("|---"), std::string::npos) << result.out;
  const Json joined = Json::parse(read_text(out + "/sweep.json"));
  EXPECT_TRUE(joined.at("complete").get<bool>());
  EXPECT_TRUE(joined.at("shards").empty()) << "it is the whole";
  EXPECT_EQ(problems_of(joined), problems_of(Json::parse(read_text(whole))));
  EXPECT_FALSE(std::filesystem::exists(out + "/device-1")) << "what was joined is still there";
}

TEST(Devices, AreShardsOfAShard) {
  const TemporaryDirectory directory;
  const std::string part = directory / "part.json", out = directory / "out";
  ASSERT_EQ(run_program(kSelection + "--shard 2/2 --json " + part).exit_code, 0);
  ASSERT_EQ(run_program(kSelection + "--shard 2/2 --devices 0,1 --out " + out).exit_code, 0);
  const Json joined = Json::parse(read_text(out + "/sweep.json"));
  EXPECT_EQ(problems_of(joined), problems_of(Json::parse(read_text(part))));
  EXPECT_TRUE(joined.at("complete")) << "of its shard nothing is missing";
  EXPECT_EQ(joined.at("shards"), Json::parse("[[2, 2]]"));
}

TEST(Devices, ThatWereInterruptedAreResumed) {
  const TemporaryDirectory directory;
  const std::string out = directory / "out", devices = "--devices 0,1 --out " + out + ' ';
  const std::string command = std::string("timeout --preserve-status 3 '") + LRNNX_BINARY_DIR + "/bin/lrnnx-bench' " +
                              kProblems + devices + "--min-time 1000 --timeout 1000 >/dev/null";
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 143);
  EXPECT_FALSE(Json::parse(read_text(out + "/sweep.json")).at("complete").get<bool>());
  EXPECT_TRUE(std::filesystem::exists(out + "/device-0/sweep.jsonl"));
  EXPECT_EQ(run_program(kSelection + devices + "--resume").exit_code, 3) << "the journals are of other settings";

  // One has ended, the other is where it was: only that one goes on.
  std::filesystem::remove_all(out);
  ASSERT_EQ(run_program(kSelection + "--shard 1/2 --out " + out + "/device-0").exit_code, 0);
  const std::string before = read_text(out + "/device-0/sweep.json");
  ASSERT_EQ(run_program(kSelection + devices + "--resume").exit_code, 0);
  const Json joined = Json::parse(read_text(out + "/sweep.json"));
  EXPECT_TRUE(joined.at("complete").get<bool>());
  for (const Json& row : Json::parse(before).at("results")) {
    const auto same = std::ranges::find(joined.at("results"), row);
    EXPECT_NE(same, joined.at("results").end()) << row.at("problem");
  }
}

TEST(Devices, EachSeesItsOwnGpu) {
  const TemporaryDirectory directory;
  const std::string trace = directory / "trace", out = directory / "out";
  // The library notes the process of every launch; what that sees is in its environment.
  setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c", 1);
  setenv("LRNNX_TRACE_DEVICES", trace.c_str(), 1);
  const ProgramResult result = run_program(
      kSelection + "--devices 0,2 --implementation none --library " LRNNX_BINARY_DIR "/lib/tests/none.so --out " + out);
  unsetenv("CUDA_VISIBLE_DEVICES");
  unsetenv("LRNNX_TRACE_DEVICES");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string seen = read_text(trace);
  EXPECT_NE(seen.find("GPU-a\n"), std::string::npos) << seen;
  EXPECT_EQ(seen.find("GPU-b\n"), std::string::npos) << seen;
  EXPECT_NE(seen.find("GPU-c\n"), std::string::npos) << seen;
}

TEST(Devices, ThatMakeNoSenseAreRefused) {
  const TemporaryDirectory directory;
  const std::string out = " --out " + std::string(directory / "out");
  for (const char* devices : {"''", "x", "0,", "0,0", "-1", "1.5"}) {
    const ProgramResult result = run_program(kSelection + "--devices=" + devices + out);
    EXPECT_EQ(result.exit_code, 2) << devices << result.err;
  }
  EXPECT_EQ(run_program(kSelection + "--devices 0,1").exit_code, 2) << "there is no --out";
  EXPECT_EQ(run_program(kSelection + "--devices 0,1 --journal x.jsonl" + out).exit_code, 2);
  if (backend("cuda").unavailable()) {
    const ProgramResult all = run_program(kSelection + "--devices all" + out);
    EXPECT_EQ(all.exit_code, 4);
    EXPECT_NE(all.err.find("no CUDA device"), std::string::npos) << all.err;
  }
  EXPECT_FALSE(std::filesystem::exists(directory / "out")) << "something was written";
}

}  // namespace
}  // namespace lrnnx::bench::devices_test
