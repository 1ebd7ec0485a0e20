//! The report of a death: a guard that an actor owns, dropped with it however it dies.
//!
//! actix's own supervisor does not restart after a panic, and its `stopped` hook does not run in every case; a drop
//! does.

use actix::{Message, Recipient};
use std::fmt::Debug;

/// `who` is gone. A session that dies unseen would be a call that nobody answers, so this one message is sent past
/// the mailbox bound: at most one a child.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Died<K> {
    pub who: K,
    pub panicked: bool,
    /// It gave up, because what it decided could not be written in time.
    pub gave_up: bool,
}

pub struct Obituary<K: Send + Clone + Debug + 'static> {
    who: K,
    reader: Recipient<Died<K>>,
    /// A child has panicked: whoever reads this rebuilds the parent too.
    child_panicked: bool,
    gave_up: bool,
}

impl<K: Send + Clone + Debug + 'static> Obituary<K> {
    pub fn new(who: K, reader: Recipient<Died<K>>) -> Obituary<K> {
        Obituary { who, reader, child_panicked: false, gave_up: false }
    }

    pub fn died_of_a_child(&mut self) {
        self.child_panicked = true;
    }

    pub fn gave_up(&mut self) {
        self.gave_up = true;
    }
}

impl<K: Send + Clone + Debug + 'static> Drop for Obituary<K> {
    #[allow(clippy::disallowed_methods)] // see `Died`
    fn drop(&mut self) {
        self.reader.do_send(Died {
            who: self.who.clone(),
            panicked: self.child_panicked || std::thread::panicking(),
            gave_up: self.gave_up,
        });
    }
}
