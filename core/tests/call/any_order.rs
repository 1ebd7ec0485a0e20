//! Whatever happens to a call in whatever order: the invariants hold, and it ends.

use holdline_core::fuzz::{FLOWS, fuzz_call_inputs, fuzz_call_with_rest, moves, script};
use proptest::prelude::*;
use std::fmt;

#[test]
fn the_flows_of_the_property_test_are_good_documents() {
    for document in FLOWS {
        script(document).unwrap_or_else(|report| panic!("{document}\n{report}"));
    }
}

/// Bytes that show what they mean.
#[derive(Clone)]
struct Story(Vec<u8>);

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flow, moves) = moves(&self.0);
        write!(f, "flow {flow}: {moves:?} of bytes {:?}", self.0)
    }
}

/// As many as a build can wait for; `PROPTEST_CASES` asks for more.
#[allow(clippy::disallowed_methods)] // a test's own setting, not the house's
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn any_story_keeps_the_invariants_and_has_an_end(
        story in prop::collection::vec(any::<u8>(), 1..200).prop_map(Story),
    ) {
        fuzz_call_inputs(&story.0);
        fuzz_call_with_rest(&story.0);
    }
}
