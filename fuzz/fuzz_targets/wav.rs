#![no_main]
use holdline_core::fuzz::fuzz_wav;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_wav(bytes));
