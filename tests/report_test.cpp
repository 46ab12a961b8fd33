// The report: one file that refers to no other, whose charts a real browser draws without a complaint.
#include "harness/report.h"

#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>

#include "harness/check_json.h"
#include "harness/report_assets.h"
#include "harness/results.h"
#include "harness/sinks.h"
#include "tests/run_program.h"

namespace lrnnx::bench::report_test {
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
      row.measurement = Measurement{.samples_ms = {}, .rounds = {12}};
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
  return {{"schema", kCheckSchema},
          {"schema_version", kCheckSchemaVersion},
          {"environment", Json::object()},
          {"results", results}};
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

TEST_F(Report, OfACheckThatLacksWhatThePageReadsIsRefusedInWords) {
  const Json good = check_of({{"passed", 0.1}});
  const auto without = [&](const char* key) {
    Json json = good;
    json.erase(key);
    return json;
  };
  const auto with = [&](const char* key, const Json& value) {
    Json json = good;
    json["results"][0][key] = value;
    return json;
  };
  Json newer = good;
  newer["schema_version"] = 99;
  const std::string reads = ": this program reads " + std::to_string(kCheckSchemaVersion);
  const std::vector<std::pair<Json, std::string>> refused = {
      {Json::object({{"schema", kCheckSchema}}), "schema_version null" + reads},
      {newer, "schema_version 99" + reads},
      {without("environment"), "expected an object \"environment\""},
      {without("results"), "expected a list \"results\""},
      {with("problem", nullptr), "result 1: expected an object with a problem line"},
      {with("status", "fine"), "result 1: status \"fine\": expected passed, "},
      {with("status", nullptr), "result 1: status null"},
      {with("tensors", nullptr), "result 1: expected tensors"},
      {with("tensors", Json::parse(R"([{"name": "out"}])")), "result 1: expected tensors"}};
  const TemporaryDirectory directory;
  const std::string file = directory / "check.json", page = directory / "page.html";
  for (const auto& [json, what] : refused) {
    std::ofstream(file) << json;
    const ProgramResult result = run_program("report " + file + " -o " + page);
    EXPECT_EQ(result.exit_code, 2) << json;
    EXPECT_NE(result.err.find(file + ": " + what), std::string::npos) << result.err << json;
    EXPECT_FALSE(std::filesystem::exists(page)) << json;
  }
  std::ofstream(file) << good;
  EXPECT_EQ(run_program("report " + file + " -o " + page).exit_code, 0);
}

TEST_F(Report, OfTheSameFileTwiceIsRefusedInWords) {
  const TemporaryDirectory directory;
  const std::string file = directory / "sweep.json", again = directory / "./sweep.json";
  std::ofstream(file) << results();
  const ProgramResult result = run_program("report " + file + " " + again + " -o " + std::string(directory / "page"));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find(again + " is given twice"), std::string::npos) << result.err;
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

// For scripts that run after the page's own: whether a canvas has pixels of more than one colour.
constexpr const char* kIsPainted = R"(<script>
const is_painted = (canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const pixels = new Uint32Array(copy.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return new Set(pixels).size > 10;
};
</script>)";

// Counts painted canvases, and tries the page's controls.
constexpr const char* kProbe = R"(<script>
const painted = () => [...document.querySelectorAll("canvas")].filter(is_painted).length;
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
</script>)";

// What an expression is worth when the page has run. Nothing if there is no browser.
std::optional<Json> evaluate(std::string html, const std::string& expression) {
  html.insert(html.rfind("</body>"),
              kIsPainted + ("<script>setTimeout(async () => { document.body.dataset.found = JSON.stringify(await " +
                            expression + "); }, 500);</script>"));
  const auto browsed = browse(html);
  if (!browsed) return std::nullopt;
  EXPECT_EQ(browsed->console, "");
  const std::string begin = "data-found=\"";
  const size_t at = browsed->dom.find(begin);
  if (at == browsed->dom.npos) return Json("nothing was found in " + browsed->dom.substr(0, 500));
  const size_t from = at + begin.size();
  std::string found = browsed->dom.substr(from, browsed->dom.find('"', from) - from);
  found = std::regex_replace(found, std::regex("&quot;"), "\"");
  return Json::parse(std::regex_replace(found, std::regex("&amp;"), "&"));
}

TEST_F(Report, ABrowserDrawsEveryChartInBothThemesAndHasNothingToComplainAbout) {
  std::string html = page();
  html.insert(html.rfind("</body>"), std::string(kIsPainted) + kProbe);
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
  row["samples_ms"] = row["rounds"] = Json::array();
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
  EXPECT_EQ(matches(browsed->dom, "<h3>([^<]*)<"),
            (std::vector<std::string>{"forward of lrnnx", "backward of lrnnx", "1 to 60 of 120", "61 to 120 of 120"}))
      << "the lines, then the bars";
  const std::vector<std::string> legends = matches(browsed->dom, R"-(<div class="legend">(.*?)</div>)-");
  ASSERT_EQ(legends.size(), 2u);
  for (const std::string& legend : legends) {
    const std::vector<std::string> keys = matches(legend, R"-(<span (style="[^"]*">[^<]*)<)-");
    EXPECT_EQ(keys.size(), 20u);
    EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()).size(), 20u) << legend;
  }
}

TEST_F(Report, FilesOfTheSameNameAreToldApartByTheirFolders) {
  const TemporaryDirectory directory;
  for (const char* folder : {"a", "b", "c"}) {
    std::filesystem::create_directory(directory / folder);
    std::ofstream(directory / folder / "sweep.json") << results();
  }
  const std::string file = directory / "page.html";
  const ProgramResult result =
      run_program("report " + std::string(directory / "a/sweep.json") + " " + std::string(directory / "b/sweep.json") +
                  " --baseline " + std::string(directory / "c/sweep.json") + " -o " + file);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto browsed = browse(read_text(file));
  if (!browsed) GTEST_SKIP() << "chromium is not installed";
  EXPECT_EQ(browsed->console, "");
  EXPECT_EQ(matches(browsed->dom, R"-(class="key"[^>]*><span[^>]*>[^<]*</span><span>([^<]*)<)-"),
            (std::vector<std::string>{"a/sweep.json forward", "a/sweep.json backward", "b/sweep.json forward",
                                      "b/sweep.json backward"}));
  EXPECT_NE(browsed->dom.find("<h2>b/sweep.json against c/sweep.json</h2>"), std::string::npos);
  EXPECT_NE(browsed->dom.find("<h2>Machine and build of a/sweep.json</h2>"), std::string::npos);
}

TEST_F(Report, ALongLabelIsWrappedAndAlikeInEveryChart) {
  Json json = results();
  const Json row = json["results"][0];
  const std::string other = " implementation=other", wide(20, 'm');
  const std::string fill = " fill=" + wide, layout = " layout=" + wide;
  json["results"].clear();
  for (const std::string& words : {fill + "1" + layout + "1", other + fill + "1" + layout + "1",
                                   other + fill + "1" + layout + "2", other + fill + "2" + layout + "1"}) {
    Json& added = json["results"].emplace_back(row);
    added["problem"] = row["problem"].get<std::string>() + words;
    if (words.starts_with(other)) added["implementation"] = "other";
  }
  const ReportInput baseline{"before.json", json};
  const auto found = evaluate(report_html({{"now.json", json}}, &baseline), R"(charts.map(({ drawn }) => {
    pen.font = `${kLabelPixels}px ${Chart.defaults.font.family}`;
    const widths = drawn.data.labels.flat().map((line) => pen.measureText(line).width);
    return { labels: drawn.data.labels, cut: Math.max(...widths) > drawn.scales.y.width };
  }))");
  if (!found) GTEST_SKIP() << "chromium is not installed";
  const auto lines = [&](const char* implementation, const char* of_fill, const char* of_layout) {
    return Json::array({implementation + (" fill=" + wide) + of_fill, "layout=" + wide + of_layout});
  };
  const Json labels = Json::array(
      {lines("lrnnx", "1", "1"), lines("other", "1", "1"), lines("other", "1", "2"), lines("other", "2", "1")});
  const Json each{{"labels", labels}, {"cut", false}};
  EXPECT_EQ(*found, Json::array({each, each})) << "fractions of the floor, speed-up over the baseline";
}

TEST_F(Report, AShortLabelIsNotWrapped) {
  const auto found = evaluate(page(), "charts.slice(1).map(({ drawn }) => drawn.data.labels[0])");
  if (!found) GTEST_SKIP() << "chromium is not installed";
  EXPECT_EQ(*found, Json::array({"forward seqlen=256", "forward seqlen=256"}));
}

TEST_F(Report, ManyRowsHaveChartsThatABrowserCanDrawAndATableOfPages) {
  constexpr int kRows = 450;
  Json json = results();
  const Json row = json["results"][0];
  json["results"].clear();
  for (int i = 1; i <= kRows; ++i) {
    Json& added = json["results"].emplace_back(row);
    added["problem"] = row["problem"].get<std::string>() + " fill=f" + std::to_string(i);
    added["median_ms"] = i;
  }
  const auto found = evaluate(report_html({{"many.json", json}}, nullptr), R"((async () => {
    const made = { charts: document.body.dataset.charts, bars: 0, most: 0, painted: 0, scales: new Set(), pages: [] };
    for (const entry of charts) {
      entry.frame.scrollIntoView();
      for (let frames = 0; frames < 60 && !entry.drawn; ++frames) await new Promise(requestAnimationFrame);
      made.bars += entry.drawn.data.labels.length;
      made.most = Math.max(made.most, entry.drawn.data.labels.length);
      made.painted += is_painted(entry.canvas);
      made.scales.add(entry.drawn.scales.x.max);
    }
    made.scales = made.scales.size;
    const lines = () => [...document.querySelectorAll("#rows tbody tr")];
    const page = () => `${document.querySelector(".pager span").textContent}: ${lines().length}`;
    made.pages.push(page());
    document.querySelector(".pager button:last-child").click();
    made.pages.push(page());
    const headings = [...document.querySelectorAll("#rows th")];
    const median = headings.find((heading) => heading.textContent === "median ms");
    median.click();
    median.click();
    made.pages.push(page());
    made.first = lines()[0].children[headings.indexOf(median)].textContent;
    return made;
  })())");
  if (!found) GTEST_SKIP() << "chromium is not installed";
  EXPECT_EQ(*found,
            (Json{{"charts", "5"},
                  {"bars", kRows},
                  {"most", 90},
                  {"painted", 5},
                  {"scales", 1},
                  {"pages", {"rows 1 to 300 of 450: 300", "rows 301 to 450 of 450: 150", "rows 1 to 300 of 450: 300"}},
                  {"first", "450"}}));
}

TEST_F(Report, TheTableSaysOnceWhatIsTheSameInEveryRow) {
  const auto found = evaluate(page(false), R"(({
    headings: [...document.querySelectorAll("#rows th")].map((heading) => heading.textContent).slice(0, 6),
    shared: document.querySelector("#shared").textContent,
    pager: document.querySelector(".pager").textContent
  }))");
  if (!found) GTEST_SKIP() << "chromium is not installed";
  EXPECT_EQ(found->at("headings"),
            Json::array({"direction", "seqlen", "save", "median ms", "of floor (%)", "verdict"}));
  const std::string shared = found->at("shared");
  EXPECT_TRUE(shared.starts_with("In every row: family selective_scan, discretization mamba, dtype f32, ")) << shared;
  EXPECT_NE(shared.find(", batch 2, dim 8, "), std::string::npos) << shared;
  EXPECT_EQ(found->at("pager"), "") << "of so few rows";
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
}  // namespace lrnnx::bench::report_test
