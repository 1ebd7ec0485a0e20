//! What every voice must do. [`check`] performs all of it and panics at the first thing that is not so.

use holdline_actors::port::speech::{Saying, Speech, Spoken};
use holdline_core::media::load::decode_file;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// A voice of a kind that is to be checked.
pub type Fresh<'f> = &'f dyn Fn() -> Box<dyn Speech>;

/// A call's patience with one text; the same as the runtime's.
const WITHIN: Duration = Duration::from_secs(30);
/// What stops has stopped by then.
const STOPS_WITHIN: Duration = Duration::from_millis(100);
/// Somebody else's words, and what they might do to a program, a request or a path.
const HOSTILE: [&str; 8] = [
    "",
    " ",
    "-h",
    "--help",
    "$(exit 1); `exit 1` | \"'",
    "<speak>&amp;</speak>",
    "a\0b",
    "日本語 🎉 \u{202E}",
];

/// Runs on an executor of its own, so call it from a plain `#[test]`.
pub fn check(fresh: Fresh<'_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no executor: {error}"));
    runtime.block_on(check_here(fresh));
}

/// As [`check`], on the executor that is there already.
pub async fn check_here(fresh: Fresh<'_>) {
    a_text_becomes_sound_that_can_be_decoded(fresh).await;
    the_same_saying_has_the_same_key_and_another_has_another(fresh);
    several_are_spoken_at_once(fresh).await;
    hostile_texts_hurt_nobody(fresh).await;
    who_stops_waiting_leaves_nothing_behind(fresh).await;
}

async fn a_text_becomes_sound_that_can_be_decoded(fresh: Fresh<'_>) {
    let voice = fresh();
    let short = speak(&*voice, Saying::new("Hello.")).await.unwrap_or_else(|why| panic!("\"Hello.\": {why}"));
    assert!(short > 0, "a word has a sound");
    let text =
        "Thank you for calling, this is a text of a sentence or two. It goes on for a while. ".repeat(3);
    let long = speak(&*voice, Saying::new(text)).await.unwrap_or_else(|why| panic!("a long text: {why}"));
    assert!(long >= short, "a long text ({long} samples) is not shorter than one word ({short})");
    for (language, named) in [(Some("de-DE"), None), (None, Some("alice")), (Some("xx"), Some("nobody"))] {
        let saying = Saying::new("Hello.").in_language(language).by(named);
        let spoken = speak(&*voice, saying).await;
        // A voice may have only one language; what it may not do is speak noise.
        assert!(spoken.is_err() || spoken.is_ok_and(|samples| samples > 0), "{language:?}, {named:?}");
    }
}

fn the_same_saying_has_the_same_key_and_another_has_another(fresh: Fresh<'_>) {
    let voice = fresh();
    let key = |text: &str| voice.key(&Saying::new(text));
    assert_eq!(key("one"), key("one"), "or nothing is ever found in the cache");
    assert_ne!(key("one"), key("two"), "or callers hear what was said to others");
}

async fn several_are_spoken_at_once(fresh: Fresh<'_>) {
    let voice = fresh();
    let (one, two) = (speak(&*voice, Saying::new("One.")), speak(&*voice, Saying::new("Two.")));
    let (one, two) = futures_util::future::join(one, two).await;
    assert!(one.is_ok() && two.is_ok(), "two at once: {one:?}, {two:?}");
}

async fn hostile_texts_hurt_nobody(fresh: Fresh<'_>) {
    let voice = fresh();
    for text in HOSTILE {
        if let Err(why) = speak(&*voice, Saying::new(text)).await {
            assert!(!why.trim().is_empty(), "{text:?} fails without a reason");
        }
    }
    assert!(speak(&*voice, Saying::new("Still there.")).await.is_ok(), "after hostile texts");
}

async fn who_stops_waiting_leaves_nothing_behind(fresh: Fresh<'_>) {
    let voice = fresh();
    for _ in 0..20 {
        let mut speaking = voice.speak(Saying::new("A text that nobody waits for. ".repeat(20)));
        // Begun, and then dropped.
        poll_fn(|context| {
            let _ = speaking.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
        let dropped = tokio::time::timeout(STOPS_WITHIN, async { drop(speaking) }).await;
        assert!(dropped.is_ok(), "stopping takes longer than {STOPS_WITHIN:?}");
    }
    let next = speak(&*voice, Saying::new("The next one.")).await;
    assert!(next.is_ok(), "those that were dropped stand in the way of the next one: {next:?}");
}

/// Samples at 8000 Hz.
async fn speak(voice: &dyn Speech, saying: Saying) -> Result<usize, String> {
    let spoken = tokio::time::timeout(WITHIN, voice.speak(saying)).await;
    let spoken = spoken.unwrap_or_else(|_| panic!("no answer within {WITHIN:?}"));
    let (name, bytes) = match spoken.map_err(|(_, why)| why)? {
        Spoken::Wav(bytes) => ("speech.wav", bytes),
        Spoken::Ulaw(bytes) => ("speech.ulaw", bytes),
        _ => return Err("it is of a form that this version does not know".to_owned()),
    };
    let decoded =
        decode_file(name, &bytes).unwrap_or_else(|error| panic!("what it gives is no sound: {error}"));
    Ok(decoded.len())
}
