// The files that a report is made of, embedded by the build (see embed.cmake).
#pragma once

namespace lrnnx::bench {

extern const char kReportPage[];
extern const char kReportScript[];
extern const char kChartLibrary[];  // empty: not found when the build was configured

}  // namespace lrnnx::bench
