#![no_main]
use holdline_core::fuzz::fuzz_document;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_document(bytes));
