//! `condition_datetime`: goes on when now compares as asked with the date and time given, else to another action.

use super::{Action, Fault, Scene, Step, comparison};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::parse::zone;
use crate::flow::substitute::as_text;
use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use serde_json::Value;
use std::cmp::Ordering;

pub struct ConditionDatetime;

impl Action for ConditionDatetime {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn reads_clock(&self) -> bool {
        true
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let name = scene.parameters.word("timezone").unwrap_or(scene.timezone);
        let zone = zone(name).ok_or_else(|| Fault::invalid(format!("there is no time zone `{name}`")))?;
        let millis = i64::try_from(scene.now.wall_ms).unwrap_or(i64::MAX);
        let now = Timestamp::from_millisecond(millis)
            .map_err(|_| Fault::invalid("the clock shows no time that can be told"))?
            .to_zoned(zone)
            .datetime();
        let weekdays = scene.parameters.list("weekdays");
        let days = weekdays.iter().filter(|day| !is_none(day)).map(weekday).collect::<Result<Vec<_>, _>>()?;
        let operator = scene.parameters.text("condition").unwrap_or("==");
        let given = |name: &str, least: i64| scene.parameters.integer(name).filter(|value| *value >= least);
        // Other systems write 0 for a day or a month that is not asked about; an hour 0 is midnight.
        let fields =
            [given("year", 1), given("month", 1), given("day", 1), given("hour", 0), given("minute", 0)];
        let is_day = days.is_empty() || days.contains(&now.weekday());
        let is_time = fields.iter().all(Option::is_none) || comparison::holds(operator, compare(now, fields));
        Ok(scene.go_on_if(is_day && is_time))
    }
}

/// Now against the fields that are given, the most significant first; the others don't count.
fn compare(now: DateTime, given: [Option<i64>; 5]) -> Ordering {
    let now = [
        i64::from(now.year()),
        i64::from(now.month()),
        i64::from(now.day()),
        i64::from(now.hour()),
        i64::from(now.minute()),
    ];
    let pairs = now.into_iter().zip(given).filter_map(|(now, given)| Some((now, given?)));
    pairs.map(|(now, given)| now.cmp(&given)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn is_none(day: &Value) -> bool {
    matches!(day, Value::Null) || day.as_i64() == Some(-1) || day.as_str() == Some("")
}

const DAYS: [(&str, Weekday); 7] = [
    ("sunday", Weekday::Sunday),
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
];

/// 0 is Sunday; else its English name, or the first three letters of it.
fn weekday(day: &Value) -> Result<Weekday, Fault> {
    let word = as_text(day).trim().to_lowercase();
    let by_number = word.parse::<usize>().ok().and_then(|number| DAYS.get(number));
    let by_name =
        || DAYS.iter().find(|(name, _)| *name == word || (word.len() == 3 && name.starts_with(&word)));
    by_number.or_else(by_name).map(|(_, day)| *day).ok_or_else(|| {
        Fault::invalid(format!("`weekdays`: expected 0 (Sunday) to 6 or a day's English name, came {day}"))
    })
}

/// For the check of documents.
pub fn is_weekday(day: &Value) -> bool {
    is_none(day) || weekday(day).is_ok()
}

static DECLARED: Declared = Declared {
    name: "condition_datetime",
    aliases: &[],
    about: "Goes on when now compares as asked with the date and time given, else to another action.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[
        Parameter {
            name: "condition",
            aliases: &[],
            shape: Shape::OneOf(comparison::OPERATORS),
            required: false,
            about: "How now compares with the fields given, most significant first; `==` by default.",
        },
        Parameter {
            name: "year",
            aliases: &[],
            shape: Shape::Integer { min: -1, max: 9999 },
            required: false,
            about: "-1: not given.",
        },
        Parameter {
            name: "month",
            aliases: &[],
            shape: Shape::Integer { min: -1, max: 12 },
            required: false,
            about: "-1 or 0: not given.",
        },
        Parameter {
            name: "day",
            aliases: &[],
            shape: Shape::Integer { min: -1, max: 31 },
            required: false,
            about: "-1 or 0: not given.",
        },
        Parameter {
            name: "hour",
            aliases: &[],
            shape: Shape::Integer { min: -1, max: 23 },
            required: false,
            about: "-1: not given.",
        },
        Parameter {
            name: "minute",
            aliases: &[],
            shape: Shape::Integer { min: -1, max: 59 },
            required: false,
            about: "-1: not given.",
        },
        Parameter {
            name: "weekdays",
            aliases: &[],
            shape: Shape::ListOf(&Shape::Any),
            required: false,
            about: "0 (Sunday) to 6, or English names; today must be one of them too.",
        },
        Parameter {
            name: "timezone",
            aliases: &[],
            shape: Shape::Text,
            required: false,
            about: "As `Europe/Berlin`; the configured one by default.",
        },
        Parameter {
            name: "false_target_id",
            aliases: &[],
            shape: Shape::Target,
            required: false,
            about: "Where to when it does not hold; without it, on to the next action.",
        },
    ],
    secrets: false,
};
