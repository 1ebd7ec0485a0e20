//! Everything that is ever written down. State is the fold of facts: a restart, a rebuild after a panic and a test
//! fixture are one road. Frames are never facts.

pub use crate::flow::fact::RunFact;
