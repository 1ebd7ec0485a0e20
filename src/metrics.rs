//! Gathers what is counted and measured, when somebody asks: most of it stands ready, and a few actors are asked.
//!
//! What is declared, and what it means, stands in [`holdline_core::metric`].

pub mod process;

use std::sync::Arc;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use futures::FutureExt;
use futures::future::BoxFuture;
use holdline_actors::call_registry::{self, CallRegistry, Count};
use holdline_actors::carrier::{endpoint, reading};
use holdline_actors::clock::Clock;
use holdline_actors::door::Door;
use holdline_actors::feed::{Feed, LISTENERS_MAX};
use holdline_actors::flow_registry::{self, CountFlows, FlowRegistry};
use holdline_actors::journal_writer::{AskWaiting, Health, JournalWriter, READS_MAX, WRITES_MAX};
use holdline_actors::outbound::{AskPlacements, Outbound};
use holdline_actors::outbox::{AskDepth, Outbox};
use holdline_actors::port::http::World;
use holdline_actors::tally::Tally;
use holdline_actors::{call_session, parent_workflow};
use holdline_core::front::rate::SOURCES_MAX;
use holdline_core::http::{Endpoint, Errand, Outcome};
use holdline_core::limit::{BAD_MESSAGES_MAX, BODY_BYTES_MAX, DIGITS_MAX};
use holdline_core::media::window::HELD_MAX;
use holdline_core::metric::{self, Family, Limit, Page, told};
use holdline_core::outbound::PLACEMENTS_MAX;
use holdline_core::provider::twilio::stream::MESSAGE_BYTES_MAX;
use holdline_core::workflow::outbox::{IN_FLIGHT_MAX, ROWS_MAX};

use crate::config::Config;
use crate::serve::Guests;
use crate::web::ledger::{ANSWERS_MAX, Ledger};
use crate::web::problem::JSON_BYTES_MAX;

/// An actor that answers later than this is behind by at least as much, and the page goes out without its numbers.
const PATIENCE: Duration = Duration::from_secs(2);

/// Everything that has something to tell.
#[derive(Clone)]
pub struct Watch {
    pub tally: Arc<Tally>,
    pub health: Arc<Health>,
    pub calls: Addr<CallRegistry>,
    pub flows: Addr<FlowRegistry>,
    pub outbox: Addr<Outbox>,
    pub outbound: Addr<Outbound>,
    pub journal: Addr<JournalWriter>,
    pub clock: Clock,
    pub door: Arc<Door>,
    pub guests: Arc<Guests>,
    pub feed: Arc<Feed>,
    pub limits: Vec<(Limit, u64)>,
}

impl Watch {
    pub async fn page(&self, ledger: &Ledger) -> Page {
        let mut page = Page::default();
        page.count(&metric::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
        self.tally.gather(&mut page);
        self.journal(&mut page);
        for (limit, most) in &self.limits {
            page.count(&metric::LIMITS, &[limit.word()], *most);
        }
        let used = |page: &mut Page, limit: Limit, count: usize| {
            page.count(&metric::LIMITS_USED, &[limit.word()], count as u64);
        };
        for (limit, most) in self.guests.limits() {
            page.count(&metric::LIMITS, &[limit.word()], most as u64);
        }
        let (public, control) = (self.guests.count("public"), self.guests.count("control"));
        page.count(&metric::CONNECTIONS, &["public"], public as u64);
        page.count(&metric::CONNECTIONS, &["control"], control as u64);
        used(&mut page, Limit::PublicConnections, public);
        used(&mut page, Limit::ControlConnections, control);
        used(&mut page, Limit::SourceConnections, self.guests.most_of_one_source());
        used(&mut page, Limit::Sources, self.door.sources());
        used(&mut page, Limit::EventListeners, self.feed.listeners());
        page.count(&metric::EVENT_LISTENERS, &[], self.feed.listeners() as u64);
        page.count(&metric::EVENTS, &[], self.feed.tally().told());
        page.count(&metric::EVENT_GAPS, &[], self.feed.tally().gaps());
        page.count(&metric::LIMIT_HITS, &[Limit::EventListeners.word()], self.feed.tally().refused());
        used(&mut page, Limit::KeptAnswers, ledger.count());
        let asked = futures::join!(
            self.ask(&self.calls, Count),
            self.ask(&self.flows, CountFlows),
            self.ask(&self.outbox, AskDepth),
            self.ask(&self.journal, AskWaiting),
            self.ask(&self.outbound, AskPlacements),
        );
        let waits =
            [("calls", asked.0.0), ("flows", asked.1.0), ("outbox", asked.2.0), ("journal", asked.3.0)];
        for (actor, wait) in waits {
            page.add(&metric::ACTOR_WAIT, &[actor], wait.as_secs_f64());
        }
        if let Some(census) = asked.0.1 {
            page.count(&metric::DRAINING, &[], u64::from(census.draining));
            used(&mut page, Limit::Calls, census.roster);
            used(&mut page, Limit::EndedCalls, census.ended);
            used(&mut page, Limit::LookedFor, census.looked_for);
        }
        if let Some(depth) = asked.2.1 {
            page.count(&metric::OUTBOX, &["in_flight"], depth.in_flight as u64);
            page.count(&metric::OUTBOX, &["waiting"], depth.rows.saturating_sub(depth.in_flight) as u64);
            used(&mut page, Limit::Deliveries, depth.rows);
            used(&mut page, Limit::DeliveriesInFlight, depth.in_flight);
        }
        if let Some(waiting) = asked.3.1 {
            page.count(&metric::JOURNAL_WAITING, &["write"], waiting.writes as u64);
            page.count(&metric::JOURNAL_WAITING, &["read"], waiting.reads as u64);
            used(&mut page, Limit::JournalWrites, waiting.writes);
            used(&mut page, Limit::JournalReads, waiting.reads);
        }
        if let Some(placements) = asked.4.1 {
            used(&mut page, Limit::Placements, placements);
        }
        process::gather(&mut page);
        page
    }

    /// What an actor answers, and how long the question was under way: behind all that it had to read before.
    async fn ask<A, M>(&self, actor: &Addr<A>, question: M) -> (Duration, Option<M::Result>)
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let began = self.clock.now().tick;
        let answered = tokio::time::timeout(PATIENCE, actor.send(question)).await;
        (self.clock.now().tick.since(began), answered.ok().and_then(Result::ok))
    }

    fn journal(&self, page: &mut Page) {
        let health = &self.health;
        let numbers: [(&'static Family, u64); 6] = [
            (&metric::JOURNAL_FACTS, health.facts()),
            (&metric::JOURNAL_BYTES, health.disk_bytes()),
            (&metric::JOURNAL_FAILING, u64::from(health.is_failing())),
            (&metric::JOURNAL_FAILURES, health.failures()),
            (&metric::JOURNAL_PRUNED, health.pruned()),
            (&metric::JOURNAL_SNAPSHOTS, health.snapshots()),
        ];
        for (family, number) in numbers {
            page.count(family, &[], number);
        }
        page.measured(&metric::JOURNAL_BATCH, &[], health.batch_facts().measured());
        page.measured(&metric::JOURNAL_SYNC, &[], health.sync_micros().measured());
    }
}

/// The bounds that are in force.
pub fn limits(config: &Config) -> Vec<(Limit, u64)> {
    let of = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut limits = vec![
        (Limit::Calls, of(config.calls.max_calls)),
        (Limit::WebhookBody, of(BODY_BYTES_MAX)),
        (Limit::Sources, of(SOURCES_MAX)),
        (Limit::BadMessages, u64::from(BAD_MESSAGES_MAX)),
        (Limit::MessageBytes, of(MESSAGE_BYTES_MAX)),
        (Limit::MessageParts, of(reading::FRAGMENTS_MAX)),
        (Limit::SocketBacklog, of(endpoint::OWED_MAX)),
        (Limit::HeldFrames, of(HELD_MAX)),
        (Limit::EarlyFrames, of(holdline_core::call::EARLY_MAX)),
        (Limit::EchoFrames, of(holdline_core::call::ECHO_HELD_MAX)),
        (Limit::Digits, of(DIGITS_MAX)),
        (Limit::WaitingSounds, of(holdline_core::call::WAITING_MAX)),
        (Limit::WaitingTexts, of(holdline_core::call::SAYS_MAX)),
        (Limit::CallRequests, of(call_session::ASKS_MAX)),
        (Limit::RebuildRequests, of(call_registry::WAITING_MAX)),
        (Limit::LookedFor, of(call_registry::LOOKED_FOR_MAX)),
        (Limit::EndedCalls, of(call_registry::ENDED_MAX)),
        (Limit::SessionMailbox, of(call_session::MAILBOX)),
        (Limit::JournalWrites, of(WRITES_MAX)),
        (Limit::JournalReads, of(READS_MAX)),
        (Limit::BeginningRuns, of(flow_registry::BEGUN_MAX)),
        (Limit::RunRequests, of(parent_workflow::ASKS_MAX)),
        (Limit::Deliveries, of(ROWS_MAX)),
        (Limit::DeliveriesInFlight, of(IN_FLIGHT_MAX)),
        (Limit::Placements, of(PLACEMENTS_MAX)),
        (Limit::EventListeners, of(LISTENERS_MAX)),
        (Limit::ApiBody, of(JSON_BYTES_MAX)),
        (Limit::KeptAnswers, of(ANSWERS_MAX)),
    ];
    limits.extend(config.public.rate_limit.map(|most| (Limit::SourceRequests, u64::from(most))));
    limits
}

/// How other systems are reached, counted.
pub struct CountedWorld {
    world: Arc<dyn World>,
    tally: Arc<Tally>,
}

impl CountedWorld {
    pub fn new(world: Arc<dyn World>, tally: Arc<Tally>) -> CountedWorld {
        CountedWorld { world, tally }
    }
}

impl World for CountedWorld {
    fn perform(&self, errand: Errand) -> BoxFuture<'static, Outcome> {
        let to = match &errand {
            Errand::Mail(_) => "mail",
            Errand::Service(_) => "service",
            Errand::Http(call) => match &call.endpoint {
                Endpoint::Url(_) => "web",
                Endpoint::OpenAi(_) => "openai",
                Endpoint::Salesforce(_) => "salesforce",
                Endpoint::Twilio(_) => "twilio",
                Endpoint::Operator(_) | Endpoint::Webhook { .. } => "operator",
            },
        };
        let (tally, performing) = (self.tally.clone(), self.world.perform(errand));
        async move {
            let outcome = performing.await;
            let word = match &outcome {
                Ok(_) if to == "mail" => "sent",
                Ok(reply) => metric::status_class(reply.status),
                Err(error) => told::class(error.class),
            };
            tally.count(&metric::OUTGOING, &[to, word]);
            outcome
        }
        .boxed()
    }
}
