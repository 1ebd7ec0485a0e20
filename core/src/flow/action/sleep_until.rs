//! `sleep_until`: waits for a date and time; one that has passed is waited for no more.

use super::sleep::{wait, waited, waits_already};
use super::{Action, Fault, Happened, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::parse::zone;
use jiff::Timestamp;
use jiff::civil::DateTime;

pub struct SleepUntil;

/// A later date is a slip of the pen, and a run that waits for it would be in nobody's mind any more.
const DAYS_MAX: u64 = 366;

impl Action for SleepUntil {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    /// How long it takes depends on when what was rendered before it is done.
    fn reads_clock(&self) -> bool {
        true
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        if let Some(under_way) = waits_already(scene) {
            return Ok(under_way);
        }
        let at = instant(scene)?;
        let ms = u64::try_from(at.as_millisecond()).unwrap_or(0).saturating_sub(scene.now.wall_ms);
        if ms > DAYS_MAX * 24 * 3_600_000 {
            let message = format!("`at`: expected a time in the next {DAYS_MAX} days, came {at}");
            return Err(Fault::invalid(message));
        }
        Ok(wait(scene, ms))
    }

    fn resume(&self, _scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        Ok(waited(happened))
    }
}

fn instant(scene: &Scene<'_>) -> Result<Timestamp, Fault> {
    let text = scene.parameters.require("at")?;
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let name = scene.parameters.word("timezone").unwrap_or(scene.timezone);
    let zone = zone(name).ok_or_else(|| Fault::invalid(format!("there is no time zone `{name}`")))?;
    let there = text.parse::<DateTime>().ok().and_then(|there| there.to_zoned(zone).ok());
    there.map(|there| there.timestamp()).ok_or_else(|| {
        Fault::invalid(format!(
            "`at`: expected a time such as 2027-01-15T09:00 or 2027-01-15T09:00:00Z, came {text}"
        ))
    })
}

static DECLARED: Declared = Declared {
    name: "sleep_until",
    aliases: &[],
    about: "Waits for a date and time.",
    kind: Kind::Control,
    needs_call: false,
    waits: true,
    parameters: &[
        Parameter {
            name: "at",
            aliases: &[],
            shape: Shape::Text,
            required: true,
            about: "When: `2027-01-15T09:00`, or with an offset (`…Z`, `…+01:00`). What has passed is not waited for.",
        },
        Parameter {
            name: "timezone",
            aliases: &[],
            shape: Shape::Text,
            required: false,
            about: "Of a time without an offset: an IANA name; the configured one unless said otherwise.",
        },
    ],
    secrets: false,
};
