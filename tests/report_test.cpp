// The report: one file that refers to no other, whose charts a real browser draws without a complaint.
#include "harness/report.h"

#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>

#include "harness/report_assets.h"
#include "harness/results.h"
#include "harness/sinks.h"
#include "tests/run_program.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

// Times that grow with the length, of two variants in both cache states.
Json results(double factor = 1) {
  Results made;
  made.environment = {{"program", {{"commit", "abc"}}}, {"gpu", nullptr}, {"cpu", {{"name", "</script><!-- x"}}}};
  made.timing = {{"min_samples", 3}};
  for (const char* direction : {"forward", "backward"}) {
    for (const int seqlen : {256, 512, 1024}) {
      Row row;
      row.problem = parse_problem("selective_scan.mamba.f32." + std::string(direction) +
                                  ".cpu batch=2 dim=8 dstate=4 seqlen=" + std::to_string(seqlen));
      row.verdict = Verdict::passed;
      row.exit_code = ExitCode::ok;
      row.measurement = Measurement{.samples_ms = {}};
      for (int i = 0; i < 12; ++i) row.measurement->samples_ms.push_back(factor * seqlen * (1 + 1e-4 * i));
      row.summary = summarize(row.measurement->samples_ms);
      row.cost = cost(row.problem);
      row.floor = Floor{.ms = seqlen / 3.0, .binds = "DRAM"};
      made.rows.push_back(to_json(row));
      made.rows.back()["check"] = {{"status", "passed"},
                                   {"tensors", {{{"name", "out"}, {"rho", 0.01}}, {{"name", "dA"}, {"rho", "nan"}}}}};
    }
  }
  return Json::parse(json_text(made));
}

std::string page(bool with_baseline = true) {
  const ReportInput baseline{"before.json", results(1.5)};
  return report_html({{"now.json", results()}}, with_baseline ? &baseline : nullptr);
}

class Report : public testing::Test {
 protected:
  void SetUp() override {
    if (kChartLibrary[0] == '\0') GTEST_SKIP() << "built without the chart library";
  }
};

TEST_F(Report, RefersToNothingOutsideItself) {
  const std::string html = page();
  EXPECT_FALSE(std::regex_search(html, std::regex(R"((src|href)="(?!data:))"))) << "a file or an address";
  EXPECT_EQ(html.find("@import"), std::string::npos);
  EXPECT_EQ(html.find("/*DATA*/"), std::string::npos);
  EXPECT_EQ(html.find("/*REPORT SCRIPT*/"), std::string::npos);
  EXPECT_EQ(html.find("/*CHART LIBRARY*/"), std::string::npos);
  EXPECT_EQ(html.find("samples_ms\":[2"), std::string::npos) << "samples make the page slow";
}

TEST_F(Report, NoTextOfTheResultsCanEndTheScript) {
  const std::string html = page();
  size_t ends = 0;
  for (size_t at = 0; (at = html.find("</script>", at)) != html.npos; ++at) ++ends;
  EXPECT_EQ(ends, 3u);
  EXPECT_EQ(html.find("<!-- x"), std::string::npos);
}

TEST_F(Report, OfWhatIsNoResultsIsRefusedInWords) {
  const TemporaryDirectory directory;
  const std::string file = directory / "other.json";
  std::ofstream(file) << "{}";
  const ProgramResult result = run_program("report " + file + " -o " + std::string(directory / "page.html"));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("other.json"), std::string::npos) << result.err;
  EXPECT_FALSE(std::filesystem::exists(directory / "page.html"));
}

// The browser's DOM after the page has run, and what it said on the console.
struct Browsed {
  std::string dom, console;
};

std::optional<Browsed> browse(const std::string& html) {
  if (std::system("command -v chromium >/dev/null") != 0) return std::nullopt;
  const TemporaryDirectory directory;
  const std::string file = directory / "page.html", dom = directory / "dom", log = directory / "log";
  std::ofstream(file) << html;
  const std::string command =
      "HOME='" + std::string(directory / "") + "' timeout 100 chromium --headless --no-sandbox --disable-gpu " +
      "--disable-dev-shm-usage --enable-logging=stderr --virtual-time-budget=5000 --user-data-dir='" +
      std::string(directory / "profile") + "' --dump-dom 'file://" + file + "' >'" + dom + "' 2>'" + log + "'";
  EXPECT_EQ(std::system(command.c_str()), 0) << read_text(log);
  std::string console;
  std::istringstream lines(read_text(log));
  for (std::string line; std::getline(lines, line);)
    if (line.find(":CONSOLE") != line.npos) console += line + '\n';
  return Browsed{read_text(dom), console};
}

// Run after the page's own script: counts canvases with pixels of more than one colour, and tries the page's controls.
constexpr const char* kProbe = R"(<script>
const painted = () => [...document.querySelectorAll("canvas")].filter((canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const pixels = new Uint32Array(copy.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return new Set(pixels).size > 10;
}).length;
const index = [...document.querySelectorAll("#rows th")].findIndex((heading) => heading.textContent === "seqlen");
const column = () =>
  [...document.querySelectorAll("#rows tbody tr")].map((line) => line.children[index].textContent).join();
setTimeout(() => {
  const found = { painted: painted() };
  document.getElementById("theme").click();
  const heading = document.querySelectorAll("#rows th")[index];
  heading.click();
  found.up = column();
  heading.click();
  found.down = column();
  found.theme = document.documentElement.dataset.theme;
  document.querySelector(".key").click();
  found.hidden = !charts[0].drawn.isDatasetVisible(0);
  setTimeout(() => { found.repainted = painted(); document.body.dataset.found = JSON.stringify(found); }, 500);
}, 500);
</script></body>)";

TEST_F(Report, ABrowserDrawsEveryChartInBothThemesAndHasNothingToComplainAbout) {
  std::string html = page();
  html.replace(html.rfind("</body>"), 7, kProbe);
  const auto browsed = browse(html);
  if (!browsed) GTEST_SKIP() << "chromium is not installed";
  EXPECT_EQ(browsed->console, "");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(browsed->dom, match, std::regex(R"-(data-charts="(\d+)")-")))
      << browsed->dom.substr(0, 500);
  EXPECT_EQ(match[1], "3") << "time against seqlen, fractions of the floor, speed-up over the baseline";
  ASSERT_TRUE(std::regex_search(browsed->dom, match, std::regex(R"-(data-found="([^"]*)")-")));
  std::string found = std::regex_replace(match[1].str(), std::regex("&quot;"), "\"");
  const Json json = Json::parse(found);
  EXPECT_EQ(json.at("painted"), 3);
  EXPECT_EQ(json.at("repainted"), 3);
  EXPECT_EQ(json.at("theme"), "dark");
  EXPECT_EQ(json.at("hidden"), true) << "a click on a name of the legend";
  EXPECT_EQ(json.at("up"), "256,256,512,512,1024,1024");
  EXPECT_EQ(json.at("down"), "1024,1024,512,512,256,256");
  EXPECT_NE(browsed->dom.find("id=\"parity\""), std::string::npos);
  EXPECT_NE(browsed->dom.find(">∞<"), std::string::npos) << "an error that is no number is not shown";
}

std::vector<std::string> matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), regex), end; match != end; ++match)
    found.push_back((*match)[1]);
  return found;
}

// Of a check of one variant, as status and rho of its only tensor.
Json check_of(const std::vector<std::pair<const char*, Json>>& ends) {
  Json results = Json::array();
  for (const auto& [status, rho] : ends) {
    Json tensors = Json::array();
    if (!rho.is_null()) tensors.push_back({{"name", "out"}, {"rho", rho}});
    results.push_back({{"problem", "selective_scan.mamba.f32.forward.cpu batch=1 dim=1 seqlen=1 dstate=1"},
                       {"status", status},
                       {"tensors", tensors}});
  }
  return {{"schema", "lrnnx-bench.check"}, {"environment", Json::object()}, {"results", results}};
}

TEST_F(Report, TheWorstErrorStandsWhateverCameAfterIt) {
  for (const char* rho : {"inf", "nan"}) {
    const auto browsed = browse(report_html({{"check.json", check_of({{"failed", rho}, {"passed", 0.1}})}}, nullptr));
    if (!browsed) GTEST_SKIP() << "chromium is not installed";
    EXPECT_EQ(browsed->console, "");
    EXPECT_EQ(matches(browsed->dom, R"-(class="heat"[^>]*>([^<]*)<)-"), std::vector<std::string>{"∞"});
  }
}

TEST_F(Report, WhatFailedIsCountedEvenIfEveryNumberIsRight) {
  const Json check = check_of({{"passed", 0.1},
                               {"failed", 0.01},
                               {"mistrusted", 0.2},
                               {"error", nullptr},
                               {"error", nullptr},
                               {"skipped", nullptr}});
  const auto browsed = browse(report_html({{"check.json", check}}, nullptr));
  if (!browsed) GTEST_SKIP() << "chromium is not installed";
  EXPECT_EQ(matches(browsed->dom, R"-(<td class="number[^>]*>([^<]*)<)-"),
            (std::vector<std::string>{"1", "1", "1", "2"}));
  EXPECT_EQ(matches(browsed->dom, R"-(<td class="number bad">([^<]*)<)-"), (std::vector<std::string>{"1", "2"}));
}

TEST_F(Report, ARowThatLostItsTimeIsAmongWhatChanged) {
  Json now = results();
  Json& row = now["results"][0];
  row["verdict"] = "error";
  row["median_ms"] = nullptr;
  row["samples_ms"] = Json::array();
  now["results"].erase(5);
  const ReportInput baseline{"before.json", results()};
  const auto browsed = browse(report_html({{"now.json", now}}, &baseline));
  if (!browsed) GTEST_SKIP() << "chromium is not installed";
  EXPECT_EQ(browsed->console, "");
  const std::string line = row["problem"];
  EXPECT_NE(browsed->dom.find("<li>error: " + line + " cache=cold</li>"), std::string::npos);
  EXPECT_NE(browsed->dom.find("<li>not there: selective_scan.mamba.f32.backward.cpu"), std::string::npos);
}

TEST_F(Report, ManyLinesHaveAChartEachDirectionAndAllLookDifferent) {
  Json many = results();
  const Json few = many["results"];
  many["results"].clear();
  for (int i = 0; i < 20; ++i)
    for (Json row : few) {
      row["problem"] = row["problem"].get<std::string>() + " fill=f" + std::to_string(i);
      many["results"].push_back(row);
    }
  const auto browsed = browse(report_html({{"many.json", many}}, nullptr));
  if (!browsed) GTEST_SKIP() << "chromium is not installed";
  EXPECT_EQ(browsed->console, "");
  EXPECT_EQ(matches(browsed->dom, "<h3>([^<]*)<"), (std::vector<std::string>{"forward of lrnnx", "backward of lrnnx"}));
  const std::vector<std::string> legends = matches(browsed->dom, R"-(<div class="legend">(.*?)</div>)-");
  ASSERT_EQ(legends.size(), 2u);
  for (const std::string& legend : legends) {
    const std::vector<std::string> keys = matches(legend, R"-(<span (style="[^"]*">[^<]*)<)-");
    EXPECT_EQ(keys.size(), 20u);
    EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()).size(), 20u) << legend;
  }
}

TEST_F(Report, ABrowserShowsResultsWithoutASingleTime) {
  Json json = results();
  for (Json& row : json["results"]) {
    row["verdict"] = "failed";
    row["median_ms"] = row["floor_ms"] = row["floor_fraction"] = nullptr;
    row["check"] = nullptr;
  }
  const auto browsed = browse(report_html({{"failed.json", json}}, nullptr));
  if (!browsed) GTEST_SKIP() << "chromium is not installed";
  EXPECT_EQ(browsed->console, "");
  EXPECT_NE(browsed->dom.find("data-charts=\"0\""), std::string::npos);
}

}  // namespace
}  // namespace lrnnx::bench
