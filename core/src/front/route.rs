//! The paths of the public listener.

use crate::provider::twilio::form::decode_segment;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Route {
    Health,
    Ready,
    Twiml,
    Ws,
    Status,
    StreamEvent,
    Recording,
    Conference,
    Voice(String),
    Next(String),
    Wait(String),
    /// `…/wss`, with or without a query.
    Stream(String),
    Ticket {
        workflow: String,
        call: String,
        token: String,
    },
}

impl Route {
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Route::Health | Route::Ready => "GET, HEAD",
            Route::Twiml | Route::Voice(_) | Route::Next(_) => "POST, GET",
            Route::Ws | Route::Stream(_) | Route::Ticket { .. } => "GET",
            _ => "POST",
        }
    }

    pub(super) fn word(&self) -> &'static str {
        match self {
            // Whoever looks whether we are well is not counted.
            Route::Health | Route::Ready => "unknown",
            Route::Twiml | Route::Voice(_) => "voice",
            Route::Next(_) => "next",
            Route::Wait(_) => "wait",
            Route::Ws | Route::Stream(_) | Route::Ticket { .. } => "stream",
            Route::Status => "status",
            Route::StreamEvent => "stream_event",
            Route::Recording => "recording",
            Route::Conference => "conference",
        }
    }

    pub(super) fn is_socket(&self) -> bool {
        matches!(self, Route::Ws | Route::Stream(_) | Route::Ticket { .. })
    }
}

/// Path and query of a target, which a proxy may send as a whole URL.
pub(super) fn relative(target: &str) -> &str {
    let target = target.split('#').next().unwrap_or(target);
    for scheme in ["http://", "https://"] {
        if let Some(rest) = target.strip_prefix(scheme) {
            return rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/");
        }
    }
    target
}

/// The prefix of the public URL may or may not arrive: some proxies strip it.
pub(super) fn of(path: &str, prefix: &str) -> Option<Route> {
    let inside = (!prefix.is_empty()).then(|| path.strip_prefix(prefix)).flatten();
    inside.and_then(plain).or_else(|| plain(path))
}

fn plain(path: &str) -> Option<Route> {
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').take(SEGMENTS_MAX + 1).collect();
    let route = match segments.as_slice() {
        ["health"] => Route::Health,
        ["ready"] => Route::Ready,
        ["twiml"] => Route::Twiml,
        ["ws"] => Route::Ws,
        // No workflow may have this name, so there is nothing else under it.
        ["webhooks", "twilio", notice] => match *notice {
            "status" => Route::Status,
            "stream" => Route::StreamEvent,
            "recording" => Route::Recording,
            "conference" => Route::Conference,
            _ => return None,
        },
        ["webhooks", "twilio" | "", ..] => return None,
        ["webhooks", workflow] => Route::Voice(decode_segment(workflow)),
        ["webhooks", workflow, "next"] => Route::Next(decode_segment(workflow)),
        ["webhooks", workflow, "wait"] => Route::Wait(decode_segment(workflow)),
        ["webhooks", workflow, "wss"] => Route::Stream(decode_segment(workflow)),
        ["webhooks", workflow, "wss", call, token] => Route::Ticket {
            workflow: decode_segment(workflow),
            call: decode_segment(call),
            token: decode_segment(token),
        },
        _ => return None,
    };
    Some(route)
}

/// The longest path has five.
const SEGMENTS_MAX: usize = 5;
