// A .npy file must say what NumPy's format asks for, and hold the numbers.
#include "harness/npy.h"

#include <gtest/gtest.h>

#include <complex>
#include <cstring>

#include "harness/error.h"
#include "tests/run_program.h"

namespace lrnnx::bench::npy_test {
namespace {

// What a reader of the format's version 1.0 finds.
struct NpyFile {
  std::string header, data;
};

NpyFile parse_npy(const std::string& bytes) {
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const size_t length = static_cast<unsigned char>(bytes.at(8)) + 256u * static_cast<unsigned char>(bytes.at(9));
  EXPECT_EQ((10 + length) % 64, 0u);
  EXPECT_EQ(bytes.at(10 + length - 1), '\n');
  return {bytes.substr(10, length), bytes.substr(10 + length)};
}

template <class Number>
std::vector<Number> numbers(const NpyFile& file) {
  std::vector<Number> values(file.data.size() / sizeof(Number));
  std::memcpy(values.data(), file.data.data(), values.size() * sizeof(Number));
  return values;
}

TEST(Npy, HoldsShapeTypeAndNumbers) {
  const TemporaryDirectory directory;
  const std::string path = directory / "x.npy";
  const std::vector<float> values = {1, 2.5f, -3, 4, 5, 6};
  write_npy(path, values, {1, 2, 3}, false);
  const NpyFile file = parse_npy(read_text(path));
  EXPECT_EQ(file.header.find("{'descr': '<f4', 'fortran_order': False, 'shape': (1,2,3,), }"), 0u) << file.header;
  EXPECT_EQ(numbers<float>(file), values);
}

TEST(Npy, KnowsEveryType) {
  const TemporaryDirectory directory;
  const std::string path = directory / "x.npy";
  const std::vector<double> reals = {1.0 / 3, -1e300};
  write_npy(path, reals, {2}, false);
  EXPECT_NE(read_text(path).find("'<f8'"), std::string::npos);
  EXPECT_NE(read_text(path).find("(2,)"), std::string::npos);
  EXPECT_EQ(numbers<double>(parse_npy(read_text(path))), reals);
  write_npy(path, reals, {1}, true);
  EXPECT_NE(read_text(path).find("'<c16'"), std::string::npos);
  EXPECT_EQ(numbers<std::complex<double>>(parse_npy(read_text(path))),
            (std::vector<std::complex<double>>{{1.0 / 3, -1e300}}));
  write_npy(path, std::vector<float>{1, 2}, {1}, true);
  EXPECT_NE(read_text(path).find("'<c8'"), std::string::npos);
}

TEST(Npy, HoldsSixteenBitsWhereNumPyKnowsThem) {
  const TemporaryDirectory directory;
  const std::string path = directory / "x.npy";
  const std::vector<float> values = {1, -2.5f};
  write_npy(path, values, {2}, false, Storage::f16);
  EXPECT_NE(read_text(path).find("'<f2'"), std::string::npos);
  EXPECT_EQ(numbers<uint16_t>(parse_npy(read_text(path))), (std::vector<uint16_t>{0x3c00, 0xc100}));
  write_npy(path, values, {2}, false, Storage::bf16);
  EXPECT_NE(read_text(path).find("'<f4'"), std::string::npos);
  EXPECT_EQ(numbers<float>(parse_npy(read_text(path))), values);
}

TEST(Npy, NamesAFileThatCannotBeWritten) {
  try {
    write_npy("/no/such/folder/x.npy", std::vector<float>{1}, {1}, false);
    FAIL();
  } catch (const SystemError& error) {
    EXPECT_NE(std::string(error.what()).find("/no/such/folder/x.npy"), std::string::npos);
  }
}

}  // namespace
}  // namespace lrnnx::bench::npy_test
