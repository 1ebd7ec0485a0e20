//! `play`: sound files, by URL or beside the workflow's own file.

use super::{Action, Fault, Happened, Road, Scene, Step, sound, talk};
use crate::document::Verb;
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::scene::Sound;

/// URLs of one action; all may be queued on the stream at once.
const URLS_MAX: usize = 100;

pub struct Play;

impl Action for Play {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let file = scene.parameters.word("file");
        let listed = scene.parameters.list("stream_urls");
        let urls: Vec<&str> = listed
            .iter()
            .filter_map(|url| url.as_str())
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .collect();
        if file.is_none() && urls.is_empty() {
            return Err(Fault::invalid("expected `stream_urls` with an address, or `file`"));
        }
        if file.is_some_and(|file| !is_below(file)) {
            return Err(Fault::invalid("`file` leaves the folder of the workflow, expected a path below it"));
        }
        if urls.len() > URLS_MAX {
            return Err(Fault::invalid(format!(
                "`stream_urls` has {} addresses, expected at most {URLS_MAX}",
                urls.len()
            )));
        }
        // The network can fetch an address; of a file beside the workflow it knows nothing.
        match scene.road(file.is_none() && urls.len() <= talk::PROMPTS_MAX, true) {
            Road::Verb => Ok(talk::prompt(
                scene,
                urls.into_iter().map(|url| Verb::Play { url: url.to_owned() }).collect(),
            )),
            Road::Stream => {
                let asynchronous = scene.parameters.flag("async", false);
                let sounds = match file {
                    Some(file) => vec![Sound::File(file.to_owned())],
                    None => urls.into_iter().map(|url| Sound::Url(url.to_owned())).collect(),
                };
                Ok(sound::begin(scene, sounds, asynchronous))
            }
            Road::Not(want) => Ok(Step::Needs(want)),
        }
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        match happened {
            Happened::Performed(answer) => Ok(talk::prompted(scene, answer)),
            _ => sound::resume(scene, happened),
        }
    }
}

/// The document's own words were checked when it was read; what a variable brought is checked here.
fn is_below(file: &str) -> bool {
    let has_drive = file.as_bytes().get(1) == Some(&b':');
    !has_drive && !file.starts_with(['/', '\\']) && file.split(['/', '\\']).all(|part| part != "..")
}

static DECLARED: Declared = Declared {
    name: "play",
    aliases: &[],
    about: "Plays sound files.",
    kind: Kind::Media,
    needs_call: true,
    waits: true,
    parameters: &[
        Parameter {
            name: "stream_urls",
            aliases: &[],
            shape: Shape::ListOf(&Shape::Text),
            required: false,
            about: "Addresses of the files, played in order.",
        },
        Parameter {
            name: "file",
            aliases: &[],
            shape: Shape::Text,
            required: false,
            about: "A file relative to the folder of the workflow.",
        },
        Parameter {
            name: "async",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "Go on at once (on a stream; a verb is always waited for).",
        },
        Parameter {
            name: "digits_handle",
            aliases: &[],
            shape: Shape::OneOf(&["", "next"]),
            required: false,
            about: "`next`: a key cuts it short and moves on.",
        },
    ],
    secrets: false,
};
