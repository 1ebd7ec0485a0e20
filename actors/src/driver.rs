//! Runs one machine in one actor: performs its effects in order, arms its one timer, stops the actor when it is over.
//!
//! An effect that answers [`Done::Later`] (a batch being written) holds everything behind it until
//! [`Owner::release`], but for urgent effects: sound never waits for the disk.

use crate::clock::Clock;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, SpawnHandle, WrapFuture};
use holdline_core::{Machine, Now, Tick};
use std::collections::VecDeque;

pub struct Driver<M: Machine> {
    machine: M,
    clock: Clock,
    /// Each with the wall time at which it was decided: that is the time of its facts, however long they wait.
    held: VecDeque<(u64, M::Effect)>,
    decided_ms: u64,
    holding: bool,
    timer: Option<(Tick, SpawnHandle)>,
}

/// Whether the effects behind one may be performed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Now,
    /// Hold what follows until [`Owner::release`].
    Later,
}

impl<M: Machine> Driver<M> {
    pub fn new(clock: Clock, machine: M) -> Driver<M> {
        Driver { machine, clock, held: VecDeque::new(), decided_ms: 0, holding: false, timer: None }
    }

    pub fn machine(&self) -> &M {
        &self.machine
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// When the effect that is being performed was decided.
    pub fn decided_ms(&self) -> u64 {
        self.decided_ms
    }

    /// Takes effects of one kind out of what is held, in their order and at most so many, each with the time of its
    /// decision: what goes to the disk anyway may go together. They pass what stands between them, so this is only for
    /// effects that nothing of another kind has to precede.
    pub fn take_held(&mut self, most: usize, wanted: impl Fn(&M::Effect) -> bool) -> Vec<(u64, M::Effect)> {
        let mut taken = Vec::new();
        let mut kept = VecDeque::with_capacity(self.held.len());
        for (decided_ms, effect) in self.held.drain(..) {
            if taken.len() < most && wanted(&effect) {
                taken.push((decided_ms, effect));
            } else {
                kept.push_back((decided_ms, effect));
            }
        }
        self.held = kept;
        taken
    }
}

/// An actor that owns a machine.
pub trait Owner: Actor<Context = Context<Self>> {
    type Machine: Machine;

    fn driver(&mut self) -> &mut Driver<Self::Machine>;

    fn is_urgent(_effect: &<Self::Machine as Machine>::Effect) -> bool {
        false
    }

    fn perform(&mut self, effect: <Self::Machine as Machine>::Effect, ctx: &mut Context<Self>) -> Done;

    /// One input, one turn of the machine.
    fn turn(&mut self, input: <Self::Machine as Machine>::Input, ctx: &mut Context<Self>) {
        let now = self.driver().clock.now();
        if self.turn_at(now, input, &mut Vec::new(), ctx) {
            self.arm(ctx);
        }
    }

    /// The same for whoever has many inputs at once: at one time, with a list for effects that is used again, and with
    /// the timer left alone: it is to be armed behind the last of them, unless that says that all is over.
    fn turn_at(
        &mut self,
        now: Now,
        input: <Self::Machine as Machine>::Input,
        effects: &mut Vec<<Self::Machine as Machine>::Effect>,
        ctx: &mut Context<Self>,
    ) -> bool {
        self.driver().machine.handle(now, input, effects);
        self.carry_out(now.wall_ms, effects, ctx)
    }

    /// An input that an effect gives rise to is handled after the effects of this turn.
    fn turn_later(&mut self, input: <Self::Machine as Machine>::Input, ctx: &mut Context<Self>)
    where
        <Self::Machine as Machine>::Input: 'static,
    {
        ctx.spawn(std::future::ready(()).into_actor(self).map(move |(), actor, ctx| actor.turn(input, ctx)));
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        let now = self.driver().clock.now();
        let mut effects = Vec::new();
        self.driver().machine.wake(now, &mut effects);
        self.settle(now.wall_ms, &mut effects, ctx);
    }

    /// What was held may go on: the batch before it is written.
    fn release(&mut self, ctx: &mut Context<Self>) {
        self.driver().holding = false;
        self.settle(0, &mut Vec::new(), ctx);
    }

    fn settle(
        &mut self,
        decided_ms: u64,
        effects: &mut Vec<<Self::Machine as Machine>::Effect>,
        ctx: &mut Context<Self>,
    ) {
        if self.carry_out(decided_ms, effects, ctx) {
            self.arm(ctx);
        }
    }

    /// False when all is over.
    fn carry_out(
        &mut self,
        decided_ms: u64,
        effects: &mut Vec<<Self::Machine as Machine>::Effect>,
        ctx: &mut Context<Self>,
    ) -> bool {
        for effect in effects.drain(..) {
            if Self::is_urgent(&effect) {
                self.perform(effect, ctx);
            } else {
                self.driver().held.push_back((decided_ms, effect));
            }
        }
        while !self.driver().holding {
            let Some((decided_ms, effect)) = self.driver().held.pop_front() else { break };
            self.driver().decided_ms = decided_ms;
            if self.perform(effect, ctx) == Done::Later {
                self.driver().holding = true;
            }
        }
        let driver = self.driver();
        if driver.held.is_empty() && driver.held.capacity() > 0 {
            driver.held = VecDeque::new(); // a quiet call keeps nothing
        }
        if driver.machine.is_over() && driver.held.is_empty() && !driver.holding {
            ctx.stop();
            return false;
        }
        true
    }

    /// Keeps exactly one timer, at the machine's own time or before it: a deadline that every frame moves on costs
    /// nothing until the old one has come.
    #[allow(clippy::disallowed_methods)] // the one timer of the house
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let driver = self.driver();
        let due = driver.machine.wake_at();
        if let Some((at, _)) = &driver.timer
            && due.is_some_and(|due| *at <= due)
        {
            return;
        }
        if let Some((_, handle)) = driver.timer.take() {
            ctx.cancel_future(handle);
        }
        if let Some(due) = due {
            let sleep = tokio::time::sleep_until(self.driver().clock.instant(due));
            let handle = ctx.spawn(sleep.into_actor(self).map(move |(), actor, ctx| {
                let driver = actor.driver();
                driver.timer = None;
                if driver.machine.wake_at().is_some_and(|now_due| now_due > due) {
                    actor.arm(ctx);
                } else {
                    actor.wake(ctx);
                }
            }));
            self.driver().timer = Some((due, handle));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Idle;

    impl Machine for Idle {
        type Input = ();
        type Effect = u32;

        fn handle(&mut self, _: Now, (): (), _: &mut Vec<u32>) {}

        fn wake(&mut self, _: Now, _: &mut Vec<u32>) {}

        fn wake_at(&self) -> Option<Tick> {
            None
        }

        fn is_over(&self) -> bool {
            false
        }
    }

    #[test]
    fn effects_of_one_kind_are_taken_in_their_order_and_no_more_than_wanted() {
        let mut driver = Driver::new(Clock::start(), Idle);
        driver.held.extend([(1, 10), (1, 11), (2, 20), (3, 13), (3, 30)]);
        let tens = |effect: &u32| effect.is_multiple_of(10);
        assert_eq!(driver.take_held(2, tens), [(1, 10), (2, 20)]);
        assert_eq!(driver.take_held(2, tens), [(3, 30)]);
        assert_eq!(driver.take_held(2, tens), []);
        assert_eq!(driver.held, [(1, 11), (3, 13)]);
    }
}
