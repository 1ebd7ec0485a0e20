//! What the log says and what it never says.
//!
//! Everything goes to stderr, since stdout holds results. Phone numbers pass through [`holdline_actors::numbers`]; digits, tokens
//! and secrets are not logged at all.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Sets up the process's log. An application that embeds Holdline has its own and doesn't call this; if some log was
/// set up already, that one stays.
pub fn init(log: &Log) {
    let terminal = std::io::stderr().is_terminal();
    // The only error is that a log exists, and then its owner has decided.
    let _ = if is_text(log.format, terminal) {
        text(log, terminal, std::io::stderr).try_init()
    } else {
        json(log, std::io::stderr).try_init()
    };
    // One line, and no backtrace: to resolve one takes a tenth of a second, and the other calls of the thread would hear it.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a task panicked")));
}

fn is_text(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    }
}

fn text<W>(log: &Log, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter(log)).with_writer(writer);
    // A log that can't be written is not told of on stderr, where it is written: that would be a panic.
    let builder = builder.log_internal_errors(false);
    builder.with_ansi(colours).with_target(false).finish()
}

fn json<W>(log: &Log, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter(log)).with_writer(writer);
    let builder = builder.log_internal_errors(false);
    builder.json().flatten_event(true).with_current_span(true).with_span_list(false).finish()
}

/// The configuration has accepted only filters that can be read; "info" is for whoever built a `Log` by hand.
fn filter(log: &Log) -> EnvFilter {
    EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Numbers;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_json_object_that_names_its_call() {
        let paper = Paper::default();
        let log = Log { format: LogFormat::Json, level: "info".to_owned(), numbers: Numbers::Masked };
        let writer = paper.clone();
        tracing::subscriber::with_default(json(&log, move || writer.clone()), || {
            let span = tracing::info_span!("call", call = "CA1");
            let _inside = span.enter();
            tracing::info!(from = %log.numbers.show("+14155550142"), "call arrived");
            tracing::debug!("not asked for");
        });
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["message"], &line["from"]), (&"call arrived".into(), &"***42".into()));
        assert_eq!(line["span"]["call"], "CA1");
    }

    #[test]
    fn the_format_follows_the_terminal_unless_it_is_set() {
        assert!(is_text(LogFormat::Auto, true) && !is_text(LogFormat::Auto, false));
        assert!(is_text(LogFormat::Text, false) && !is_text(LogFormat::Json, true));
    }
}
