#![no_main]
use holdline_core::fuzz::fuzz_signature;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_signature(bytes));
