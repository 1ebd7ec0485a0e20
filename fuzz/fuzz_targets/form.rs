#![no_main]
use holdline_core::fuzz::fuzz_form;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_form(bytes));
