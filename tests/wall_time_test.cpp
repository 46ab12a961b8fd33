// Time goes into the innermost activity, and all of it somewhere.
#include "harness/wall_time.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "harness/activity.h"

namespace lrnnx::bench::wall_time_test {
namespace {

void pass(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

TEST(WallTime, GoesIntoTheInnermostActivity) {
  take_wall_time();
  const auto start = std::chrono::steady_clock::now();
  {
    const Doing comparison(Activity::comparison);
    pass(20);
    {
      const Doing inputs(Activity::inputs);
      pass(40);
    }
    pass(20);
  }
  pass(20);  // in none
  const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;
  const auto seconds = take_wall_time();
  EXPECT_GE(seconds.at("comparison").get<double>(), 0.04);
  // Whatever else the machine does: together they are less than all of it.
  EXPECT_LE(seconds.at("comparison").get<double>() + seconds.at("inputs").get<double>(), whole.count() - 0.02);
  EXPECT_GE(seconds.at("inputs").get<double>(), 0.04);
  EXPECT_EQ(seconds.at("oracle").get<double>(), 0);
  EXPECT_EQ(take_wall_time().at("inputs").get<double>(), 0) << "taken twice";
}

TEST(WallTime, ThatIsCreditedMovesAndThatOfOthersIsAdded) {
  take_wall_time();
  {
    Doing sampling(Activity::sampling);
    pass(20);
    sampling.credit(Activity::kernels, 0.015);
  }
  const auto seconds = take_wall_time();
  EXPECT_EQ(seconds.at("kernels").get<double>(), 0.015);
  EXPECT_GE(seconds.at("sampling").get<double>(), 0.005);
  add_wall_time(seconds);
  EXPECT_EQ(take_wall_time(), seconds);
}

TEST(WallTime, OverheadIsAllButKernelsFlushAndOracle) {
  const nlohmann::ordered_json seconds = {{"kernels", 4},  {"flush", 2},  {"oracle", 2},    {"sampling", 0.5},
                                          {"ceilings", 0}, {"inputs", 0}, {"comparison", 0}};
  const auto total = with_total(seconds, 10);
  EXPECT_DOUBLE_EQ(total.at("rest"), 1.5);
  EXPECT_EQ(wall_time_text(total),
            "10.0 s: kernels 40.0 %, flush 20.0 %, oracle 20.0 %, sampling 5.0 %, ceilings 0.0 %, inputs 0.0 %, "
            "comparison 0.0 %, rest 15.0 %; overhead 20.0 %");
}

}  // namespace
}  // namespace lrnnx::bench::wall_time_test
