#![no_main]
use holdline_core::fuzz::fuzz_call_inputs;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_call_inputs(bytes));
