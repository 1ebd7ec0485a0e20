#![no_main]
#[path = "../../tests/corpus/doors.rs"]
#[allow(dead_code)]
mod doors;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| doors::fuzz_twiml_in(bytes));
