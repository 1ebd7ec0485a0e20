//! Calls without actors: stories of the trickiest rules, and any story at all.

mod any_order;
mod exchanges;
mod once;
mod reaching;
mod stories;
