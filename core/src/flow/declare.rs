//! How an action says what it is: from its declaration come the parser's checks, the schema, the docs' table and the
//! default policy. An action's file holds its declaration and its behaviour, and nothing else knows either.

/// What an action type declares of itself.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Declared {
    /// The canonical type, as written in documents: `digits_receive`, `http/request`.
    pub name: &'static str,
    /// Other names for the same (`stream_echo`), and known-and-ignored ones.
    pub aliases: &'static [&'static str],
    /// One sentence for the docs' table.
    pub about: &'static str,
    pub kind: Kind,
    /// Needs a live call: skipped elsewhere.
    pub needs_call: bool,
    /// Suspends until something happens.
    pub waits: bool,
    pub parameters: &'static [Parameter],
    /// `secret.…` may appear in its parameters (I/O actions only).
    pub secrets: bool,
}

/// Decides the default policy for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Run by the machine itself: an error ends the run, never retried.
    Control,
    /// Talks to the line: an error is recorded, the flow continues.
    Media,
    /// Talks to the world: an error ends the run, after retries in a main workflow.
    Io,
    /// Sends people messages: an error is recorded and the flow continues; in a main workflow as `Io`.
    Messaging,
    /// Runs another workflow: as [`Kind::Io`], but it takes as long as it takes.
    Child,
}

/// One parameter of an action.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Parameter {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub shape: Shape,
    pub required: bool,
    pub about: &'static str,
}

/// What a parameter's value must look like. Text that holds `${…}` (or begins with `=`) stands for any shape and is
/// checked when it runs.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Shape {
    Text,
    /// `true` / `false`.
    Flag,
    Integer {
        min: i64,
        max: i64,
    },
    Number {
        min: f64,
        max: f64,
    },
    /// Text with a unit, or a bare number of milliseconds.
    Millis {
        min: u64,
        max: u64,
    },
    /// Text with a unit, or a bare number of seconds; kept as milliseconds.
    Seconds {
        min: u64,
        max: u64,
    },
    OneOf(&'static [&'static str]),
    /// A list of values of one shape.
    ListOf(&'static Shape),
    /// A map with free keys and values of one shape.
    MapOf(&'static Shape),
    /// An object with these keys.
    Object(&'static [Parameter]),
    /// `id` or `name` of an action.
    Target,
    /// Id of a workflow.
    Workflow,
    /// A nested list of actions.
    Actions,
    /// A nested list of actions, or the id of a workflow.
    ActionsOrWorkflow,
    /// DTMF keys, checked against this alphabet.
    Keys {
        alphabet: &'static str,
        max: usize,
    },
    /// An expression, with or without its `=`.
    Expression,
    /// Any JSON value, substituted whole.
    Any,
    /// Exported by other systems, without effect here: a warning says so.
    Ignored,
}

impl Declared {
    /// An action without parameters that neither needs a call nor waits.
    pub const fn new(name: &'static str, about: &'static str, kind: Kind) -> Declared {
        let (aliases, parameters) = (&[], &[]);
        Declared { name, aliases, about, kind, needs_call: false, waits: false, parameters, secrets: false }
    }

    /// What documents may give it.
    #[must_use]
    pub const fn parameters(self, parameters: &'static [Parameter]) -> Declared {
        Declared { parameters, ..self }
    }

    /// It suspends: on time, on a key, on an answer from outside.
    #[must_use]
    pub const fn waits(self) -> Declared {
        Declared { waits: true, ..self }
    }

    /// It makes sense on a live call alone; elsewhere it is skipped.
    #[must_use]
    pub const fn needs_call(self) -> Declared {
        Declared { needs_call: true, ..self }
    }

    /// `${secret.…}` may stand in its parameters: for requests by [`Scene::fetch`](super::action::Scene::fetch), whose
    /// port alone knows the values.
    #[must_use]
    pub const fn secrets(self) -> Declared {
        Declared { secrets: true, ..self }
    }
}

impl Parameter {
    /// One that must be given.
    pub const fn required(name: &'static str, shape: Shape, about: &'static str) -> Parameter {
        Parameter { name, aliases: &[], shape, required: true, about }
    }

    /// One that may be left out.
    pub const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Parameter {
        Parameter { name, aliases: &[], shape, required: false, about }
    }
}

impl Shape {
    /// What a number of this shape must be, in words; without bounds none are named.
    pub(super) fn number_words(min: f64, max: f64) -> String {
        if min == f64::MIN && max == f64::MAX {
            "a number".to_owned()
        } else {
            format!("a number from {min} to {max}")
        }
    }
}
