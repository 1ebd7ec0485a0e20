#![no_main]
use holdline_core::fuzz::fuzz_journal;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_journal(bytes));
