//! The standard variables of OpenTelemetry, as far as they concern traces over HTTP.

use std::time::Duration;

use holdline_core::trace::TraceId;
use url::Url;

use crate::config::Secret;

/// Where traces go, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    pub endpoint: Url,
    pub headers: Vec<(String, Secret)>,
    pub protocol: Protocol,
    pub resource: Vec<(String, String)>,
    pub sampler: Sampler,
    /// For one request.
    pub timeout: Duration,
    /// How long spans may wait for others of their batch.
    pub delay: Duration,
    /// Spans that may wait at all, and spans of one request.
    pub queue: usize,
    pub batch: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Protobuf,
    Json,
}

/// Which traces are exported. They have no parents elsewhere, so `parentbased_…` is what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    Always,
    Never,
    /// So large a part of them, chosen by their ids: the same on every server.
    Part(f64),
}

impl Sampler {
    #[expect(clippy::cast_precision_loss, reason = "a part of so many need not be exact")]
    pub fn takes(self, trace: TraceId) -> bool {
        let last = trace.0.last_chunk().map_or(0, |last| u64::from_be_bytes(*last));
        match self {
            Sampler::Always => true,
            Sampler::Never => false,
            Sampler::Part(part) => (last as f64) < part * u64::MAX as f64,
        }
    }
}

impl Settings {
    /// Nothing, unless a variable says where traces go. An empty variable is one that is not set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Settings>, String> {
        let variable =
            |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        // A variable of traces alone goes before that of all signals.
        let of_traces = |name: &str| {
            variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let says =
            |name: &str, word: &str| variable(name).is_some_and(|text| text.eq_ignore_ascii_case(word));
        let Some(endpoint) = endpoint(&variable)? else { return Ok(None) };
        if says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let protocol = match of_traces("PROTOCOL").as_deref() {
            None | Some("http/protobuf") => Protocol::Protobuf,
            Some("http/json") => Protocol::Json,
            Some(other) => {
                return Err(format!(
                    "OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf or http/json, got {other}"
                ));
            }
        };
        let millis = |name: &str, otherwise: u64| match variable(name) {
            None => Ok(otherwise),
            Some(text) => {
                text.parse::<u64>().map_err(|_| format!("{name}: expected milliseconds, got {text}"))
            }
        };
        let count = |name: &str, otherwise: usize| match variable(name).map(|text| text.parse::<usize>()) {
            None => Ok(otherwise),
            Some(Ok(count)) if (1..=QUEUE_MAX).contains(&count) => Ok(count),
            Some(_) => Err(format!("{name}: expected a number from 1 to {QUEUE_MAX}")),
        };
        let timeout = match of_traces("TIMEOUT") {
            None => 10_000,
            Some(text) => text
                .parse()
                .map_err(|_| format!("OTEL_EXPORTER_OTLP_TIMEOUT: expected milliseconds, got {text}"))?,
        };
        let queue = count("OTEL_BSP_MAX_QUEUE_SIZE", 2048)?;
        Ok(Some(Settings {
            endpoint,
            headers: pairs(&of_traces("HEADERS").unwrap_or_default())
                .into_iter()
                .map(|(name, value)| (name, Secret::new(value)))
                .collect(),
            protocol,
            resource: resource(&variable),
            sampler: sampler(&variable)?,
            timeout: Duration::from_millis(timeout),
            delay: Duration::from_millis(millis("OTEL_BSP_SCHEDULE_DELAY", 5000)?),
            queue,
            batch: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?.min(queue),
        }))
    }
}

/// Spans that may be configured to wait: some hundred bytes each.
const QUEUE_MAX: usize = 100_000;

fn endpoint(variable: &impl Fn(&str) -> Option<String>) -> Result<Option<Url>, String> {
    let parse = |name: &str, text: &str| {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.ok_or_else(|| format!("{name}: expected an http or https URL"))
    };
    let (own, all) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
    if let Some(text) = variable(own) {
        return parse(own, &text).map(Some);
    }
    // The one of all signals is a base: each has its own path below it.
    let Some(text) = variable(all) else { return Ok(None) };
    parse(all, &format!("{}/v1/traces", text.trim_end_matches('/'))).map(Some)
}

/// `a=1,b=2`, with percent signs for what is not plain.
fn pairs(text: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let text = text.trim().replace('+', "%2B");
        let pair = format!("x={text}");
        url::form_urlencoded::parse(pair.as_bytes())
            .next()
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (decoded(name), decoded(value)));
    pairs.filter(|(name, _)| !name.is_empty()).collect()
}

fn resource(variable: &impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let mut resource = vec![
        ("service.name".to_owned(), "holdline".to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let named = variable("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name));
    let given = pairs(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
    for (key, value) in given.into_iter().chain(named) {
        match resource.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => resource.push((key, value)),
        }
    }
    resource
}

fn sampler(variable: &impl Fn(&str) -> Option<String>) -> Result<Sampler, String> {
    let name = variable("OTEL_TRACES_SAMPLER").unwrap_or_else(|| "parentbased_always_on".to_owned());
    match name.strip_prefix("parentbased_").unwrap_or(&name) {
        "always_on" => Ok(Sampler::Always),
        "always_off" => Ok(Sampler::Never),
        "traceidratio" => {
            let part = variable("OTEL_TRACES_SAMPLER_ARG").map_or(Ok(1.0), |text| text.parse::<f64>());
            let part = part.ok().filter(|part| (0.0..=1.0).contains(part));
            let part = part.ok_or("OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1")?;
            Ok(if part >= 1.0 { Sampler::Always } else { Sampler::Part(part) })
        }
        _ => Err(format!(
            "OTEL_TRACES_SAMPLER: expected always_on, always_off, traceidratio or one of them behind parentbased_, \
             got {name}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Settings::read(|name| variables.get(name).map(|text| (*text).to_owned()))
    }

    const TO: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn the_variable_of_traces_goes_before_that_of_all_signals() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap().is_none());
        assert!(read(&[TO, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap().is_none());
        assert!(read(&[TO, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        let plain = read(&[TO]).unwrap().unwrap();
        assert_eq!(plain.endpoint.as_str(), "http://collector:4318/v1/traces");
        assert_eq!((plain.protocol, plain.sampler), (Protocol::Protobuf, Sampler::Always));
        assert_eq!(plain.resource[0], ("service.name".to_owned(), "holdline".to_owned()));
        let own = read(&[
            TO,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/here"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a+b, x-team = calls"),
            ("OTEL_SERVICE_NAME", "phones"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,deployment.environment=test"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ]);
        let own = own.unwrap().unwrap();
        assert_eq!((own.endpoint.as_str(), own.protocol), ("https://other/here", Protocol::Json));
        let headers: Vec<(&str, &str)> =
            own.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(headers, [("authorization", "Bearer a+b"), ("x-team", "calls")]);
        assert!(own.resource.contains(&("service.name".to_owned(), "phones".to_owned())));
        assert!(own.resource.contains(&("deployment.environment".to_owned(), "test".to_owned())));
        assert_eq!((own.queue, own.batch), (100, 100));
        assert!(!format!("{own:?}").contains("Bearer"), "{own:?}");
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_its_variable() {
        for (name, text) in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
        ] {
            let said = read(&[TO, (name, text)]).unwrap_err();
            assert!(said.starts_with(name), "{said}");
        }
        let part =
            [TO, ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        assert!(read(&part).unwrap_err().starts_with("OTEL_TRACES_SAMPLER_ARG"));
    }

    #[test]
    fn a_part_of_all_traces_is_the_same_part_everywhere() {
        let half = Sampler::Part(0.5);
        let taken = |last: u8| half.takes(TraceId([0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!([taken(0), taken(127), taken(128), taken(255)], [true, true, false, false]);
        assert!(!Sampler::Part(0.0).takes(TraceId([1; 16])) && !Sampler::Never.takes(TraceId([0; 16])));
    }
}
