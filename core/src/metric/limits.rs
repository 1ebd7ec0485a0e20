//! The bounds that somebody outside can reach, by the names under which the page shows them.

macro_rules! limits {
    ($($(#[doc = $about:literal])+ $id:ident = $word:literal;)+) => {
        /// A bound at which something is refused, dropped or closed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Limit {
            $($(#[doc = $about])+ $id,)+
        }

        impl Limit {
            pub const ALL: &[Limit] = &[$(Limit::$id),+];

            pub fn word(self) -> &'static str {
                match self {
                    $(Limit::$id => $word,)+
                }
            }

            /// One sentence for people.
            pub fn about(self) -> &'static str {
                match self {
                    $(Limit::$id => concat!($($about),+),)+
                }
            }
        }

        /// All names, for the labels.
        pub const WORDS: &[&str] = &[$($word),+];
    };
}

limits! {
    /// Calls that are not over, at once: `[calls] max_calls`.
    Calls = "calls";
    /// Bytes of a webhook's body.
    WebhookBody = "webhook_body_bytes";
    /// Requests a second from one source: `[public] rate_limit`.
    SourceRequests = "source_requests";
    /// Sources whose requests are counted.
    Sources = "sources";
    /// Connections of one source to the public listener.
    SourceConnections = "source_connections";
    /// Connections to the public listener, without streams.
    PublicConnections = "public_connections";
    /// Connections to the control listener.
    ControlConnections = "control_connections";
    /// Bad messages in a row on one stream.
    BadMessages = "bad_messages";
    /// Bytes of one message on a stream.
    MessageBytes = "stream_message_bytes";
    /// Parts of one message on a stream.
    MessageParts = "stream_message_parts";
    /// Digits, marks and ends of one stream that wait for a busy session.
    SocketBacklog = "stream_backlog";
    /// Frames of one stream held for a session that is slow.
    HeldFrames = "held_frames";
    /// Frames kept until a flow has said who listens.
    EarlyFrames = "early_frames";
    /// Frames kept until an echo is written down.
    EchoFrames = "echo_frames";
    /// Digits that one call keeps.
    Digits = "digits";
    /// Sounds of one call that wait to be loaded or played.
    WaitingSounds = "waiting_sounds";
    /// Texts of one call that wait for its next document.
    WaitingTexts = "waiting_texts";
    /// Requests of one call that wait for their answers.
    CallRequests = "call_requests";
    /// Requests that wait while their call is rebuilt or looked for.
    RebuildRequests = "rebuild_requests";
    /// Calls that are looked for in the journal at once.
    LookedFor = "looked_for_calls";
    /// Ended calls that are remembered without asking the journal; the oldest makes room.
    EndedCalls = "ended_calls";
    /// Places in a session's mailbox.
    SessionMailbox = "session_mailbox";
    /// Batches that wait to be written.
    JournalWrites = "journal_writes";
    /// Questions that wait to be read.
    JournalReads = "journal_reads";
    /// Activeflows whose beginning is on its way to the disk.
    BeginningRuns = "beginning_runs";
    /// Commands of one workflow that wait for their answers.
    RunRequests = "run_requests";
    /// Deliveries kept in memory.
    Deliveries = "deliveries";
    /// Deliveries under way at once; the others wait.
    DeliveriesInFlight = "deliveries_in_flight";
    /// Calls that are being placed.
    Placements = "placements";
    /// Listeners to events at once.
    EventListeners = "event_listeners";
    /// Bytes of a request to the control API.
    ApiBody = "api_body_bytes";
    /// Answers kept for an `Idempotency-Key`; the oldest makes room.
    KeptAnswers = "kept_answers";
    /// Spans that wait to be exported.
    WaitingSpans = "waiting_spans";
}
