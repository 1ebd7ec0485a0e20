//! Whatever happens to a call in whatever order: the invariants hold, and it ends.

use holdline_core::fuzz::{FLOWS, fuzz_call_inputs, script};
use proptest::prelude::*;

#[test]
fn the_flows_of_the_property_test_are_good_documents() {
    for document in FLOWS {
        script(document).unwrap_or_else(|report| panic!("{document}\n{report}"));
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn any_story_keeps_the_invariants_and_has_an_end(bytes in prop::collection::vec(any::<u8>(), 1..150)) {
        fuzz_call_inputs(&bytes);
    }
}
