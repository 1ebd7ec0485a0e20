//! Who does it: thin actors that own one machine each.
//!
//! An actor receives, hands its machine the input, performs the effects in order and arms the machine's one timer.
//! Commands go down, reports go up; nobody awaits a peer, the journal excepted.

pub mod alive;
pub mod call_registry;
pub mod call_session;
pub mod carrier;
pub mod clock;
pub mod door;
pub mod driver;
pub mod feed;
pub mod flow_registry;
pub mod histogram;
pub mod journal_writer;
pub mod numbers;
pub mod obituary;
pub mod outbound;
pub mod outbox;
pub mod owing;
pub mod parent_workflow;
pub mod port;
pub mod post;
pub mod recovery;
pub mod sub_workflow;
pub mod tally;
