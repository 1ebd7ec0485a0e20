#![no_main]
use holdline_core::fuzz::fuzz_fetched;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_fetched(bytes));
