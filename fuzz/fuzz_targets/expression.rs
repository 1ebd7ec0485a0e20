#![no_main]
use holdline_core::fuzz::fuzz_expression;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_expression(bytes));
