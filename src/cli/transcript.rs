//! A call as a transcript, line by line while it happens: the time since it began to ring, who, and what.
//!
//! `caller` is what the pretend caller does, `<-` what comes back.

use std::time::Duration;

use holdline_harness::network::Experience;

use super::print;

pub(super) const CALLER: &str = "caller  ";
pub(super) const BACK: &str = "<- ";

/// One line on stdout.
pub(super) fn tell(at: Duration, who: &str, what: &str) {
    print(&line(at, who, what));
}

/// What the network lived through, if it is worth a line.
pub(super) fn tell_experience(at: Duration, experience: &Experience) {
    if let Some((who, what)) = described(experience) {
        tell(at, who, &what);
    }
}

fn line(at: Duration, who: &str, what: &str) -> String {
    // A text of somebody else's can't make a line of its own.
    let what: String = what.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    format!("{:>6.1}  {who}{what}\n", at.as_secs_f64())
}

fn described(experience: &Experience) -> Option<(&'static str, String)> {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let back = |what: String| Some((BACK, what));
    match experience {
        Experience::Digit { .. } | Experience::Speaks { .. } | Experience::HangsUp => {
            Some((CALLER, experience.to_string()))
        }
        Experience::Plays { ms } => Some((CALLER, format!("speaks for {} s", seconds(*ms)))),
        Experience::Fetched { document, .. } => back(format!("gives the document: {document}")),
        Experience::Hears { text } => back(format!("says \"{text}\"")),
        Experience::HearsFile { url } => back(format!("plays {url}")),
        Experience::HearsAudio { ms, digits } if digits.is_empty() => {
            back(format!("was heard for {:.1} s", seconds(*ms)))
        }
        Experience::HearsAudio { ms, digits } => {
            back(format!("was heard for {:.1} s, keys {digits} in it", seconds(*ms)))
        }
        Experience::HearsKeys { digits } => back(format!("plays the keys {digits}")),
        Experience::Beep => back("beeps".into()),
        Experience::Ringing { target } => back(format!("rings {target}")),
        Experience::Bridged { target } => back(format!("bridges the caller to {target}")),
        Experience::Unbridged { target, result } => back(format!("is back from {target}: {result}")),
        Experience::Queued { queue } => back(format!("puts the caller into the queue {queue}")),
        Experience::Unqueued { queue, result } => back(format!("takes the caller out of {queue}: {result}")),
        Experience::StreamUp => back("opens a stream".into()),
        Experience::StreamDown { .. } => back(experience.to_string()),
        Experience::Cleared => back("hushes at once".into()),
        Experience::Ended { status, duration } => {
            back(format!("call is over: {} after {:.1} s", status.word(), duration.as_secs_f64()))
        }
        Experience::Recorded { .. } | Experience::Warning { .. } => back(experience.to_string()),
        // Marks are between the two machines; silence is heard in the times.
        Experience::MarkEchoed { .. } | Experience::Silence { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_who_and_what() {
        let at = Duration::from_millis(1940);
        assert_eq!(line(at, CALLER, "presses 2"), "   1.9  caller  presses 2\n");
        assert_eq!(line(at, BACK, "says \"a\n 9.9 b\""), "   1.9  <- says \"a  9.9 b\"\n");
        let (who, what) = described(&Experience::HearsAudio { ms: 2400, digits: String::new() }).unwrap();
        assert_eq!((who, what.as_str()), (BACK, "was heard for 2.4 s"));
        assert_eq!(described(&Experience::Silence { ms: 20 }), None);
    }
}
