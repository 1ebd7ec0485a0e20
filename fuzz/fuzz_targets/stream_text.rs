#![no_main]
use holdline_core::fuzz::fuzz_stream_text;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_stream_text(bytes));
