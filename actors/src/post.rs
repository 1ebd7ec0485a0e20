//! Bounded sending. A mailbox bounds only those who hold one sender and use `try_send`: every fresh clone owns a free
//! place of its own, and `do_send` knows no bound at all.

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};

/// A sender that is kept, so that the mailbox's bound holds for it.
pub struct Held<M: Message + Send + 'static>(Recipient<M>)
where
    M::Result: Send;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    Taken,
    /// The mailbox is full: the sender decides what to drop.
    Full,
    /// Nobody will ever read it.
    Gone,
}

impl<M: Message + Send + 'static> Held<M>
where
    M::Result: Send,
{
    pub fn new<A>(reader: Addr<A>) -> Held<M>
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        Held(reader.recipient())
    }

    pub fn post(&self, message: M) -> Posted {
        match self.offer(message) {
            Ok(()) => Posted::Taken,
            Err(Some(_)) => Posted::Full,
            Err(None) => Posted::Gone,
        }
    }

    /// Like [`Held::post`], but a message that finds no place comes back; `None` when nobody will ever read it.
    pub fn offer(&self, message: M) -> Result<(), Option<M>> {
        self.0.try_send(message).map_err(|error| match error {
            actix::dev::SendError::Full(message) => Some(message),
            actix::dev::SendError::Closed(_) => None,
        })
    }

    /// Sent past the bound: for the one message that must not be lost and of which a sender has one under way at most.
    #[allow(clippy::disallowed_methods)] // at most one a sender at a time
    pub fn last_word(&self, message: M) {
        self.0.do_send(message);
    }

    pub fn is_open(&self) -> bool {
        self.0.connected()
    }
}
