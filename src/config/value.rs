//! The types of settings, each with the one function that reads it from text.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use url::Url;

/// A text that is never shown: neither by Debug nor in the effective configuration.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that signs or sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret()" } else { "Secret(***)" })
    }
}

/// `[public] url`: how the network reaches the public listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicUrl {
    /// As bound: `http://address:port`, for development.
    Bound,
    /// Ask a running ngrok.
    Auto,
    /// An origin, with its path if it has one, without a slash at the end.
    Origin(String),
}

impl PublicUrl {
    pub(super) fn read(text: &str) -> Result<PublicUrl, String> {
        match text {
            "" => Ok(PublicUrl::Bound),
            "auto" => Ok(PublicUrl::Auto),
            _ => origin(text).map(PublicUrl::Origin).map_err(|message| format!("{message}, or \"auto\"")),
        }
    }
}

/// An `http(s)://` URL without query or fragment; a slash at the end is dropped.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let expected = "expected an origin such as \"https://voice.example.com\"";
    let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("{expected}, got a {}: URL", url.scheme()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{expected}, without ? and #"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{expected}, without a user or password"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Any `http(s)://` URL, as deliveries are sent to.
pub(super) fn http_url(text: &str) -> Result<String, String> {
    let expected = "expected a URL such as \"https://example.com/events\"";
    let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
    if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() {
        Ok(text.to_owned())
    } else {
        Err(format!("{expected}, got a {}: URL", url.scheme()))
    }
}

/// `address:port`; `localhost` stands for 127.0.0.1, since a listener has one address.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let literal = match text.strip_prefix("localhost:") {
        Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        None => text.to_owned(),
    };
    literal
        .parse()
        .map_err(|_| "expected address:port such as \"127.0.0.1:8080\" or \"[::]:8080\"".to_owned())
}

/// A network such as `10.0.0.0/8`; an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        // A v4 peer on a v6 listener arrives as ::ffff:a.b.c.d, and must be judged as what it is.
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix);
                shift == 32 || u32::from(mine) >> shift == u32::from(other) >> shift
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix);
                shift == 128 || u128::from(mine) >> shift == u128::from(other) >> shift
            }
            _ => false,
        }
    }

    pub(super) fn read(text: &str) -> Result<Network, String> {
        let expected = || "expected an address or a network such as \"10.0.0.0/8\"".to_owned();
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => digits.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(expected)?,
        };
        Ok(Network { address, prefix })
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        Network::read(text)
    }
}

/// One entry of `[http] allow_hosts`: an exception to the refusal of private addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedHost {
    /// `host` or `host:port`; a literal address is a name here and a network of one as well.
    Host {
        name: String,
        port: Option<u16>,
    },
    /// `*.domain`: every name below the domain, not the domain itself.
    Below(String),
    Network(Network),
}

impl AllowedHost {
    /// Is a request to `host:port`, whose name led to `address`, excepted?
    pub fn admits(&self, host: &str, port: u16, address: IpAddr) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match self {
            AllowedHost::Host { name, port: only } => {
                only.is_none_or(|only| only == port)
                    && (name.eq_ignore_ascii_case(host) || name.parse() == Ok(address.to_canonical()))
            }
            AllowedHost::Below(domain) => host
                .to_ascii_lowercase()
                .strip_suffix(domain.as_str())
                .is_some_and(|before| before.len() > 1 && before.ends_with('.')),
            AllowedHost::Network(network) => network.contains(address),
        }
    }

    pub(super) fn read(text: &str) -> Result<AllowedHost, String> {
        let expected = "expected \"host\", \"host:port\", \"*.domain\" or a network such as \"10.1.0.0/16\"";
        if text.contains('/') {
            return Network::read(text).map(AllowedHost::Network).map_err(|_| expected.to_owned());
        }
        if let Some(domain) = text.strip_prefix("*.") {
            return if is_host_name(domain) {
                Ok(AllowedHost::Below(domain.to_ascii_lowercase()))
            } else {
                Err(expected.to_owned())
            };
        }
        if text.parse::<IpAddr>().is_ok() {
            return Ok(AllowedHost::Host { name: text.to_owned(), port: None });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| expected.to_owned())?)),
            None => (text, None),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        if name.parse::<IpAddr>().is_ok() || is_host_name(name) {
            Ok(AllowedHost::Host { name: name.to_ascii_lowercase(), port })
        } else {
            Err(expected.to_owned())
        }
    }
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// A whole number and its unit: `250ms`, `10s`, `5m`, `4h`, `30d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration such as \"250ms\", \"10s\", \"5m\", \"4h\" or \"30d\"";
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let count: u64 = digits.parse().map_err(|_| expected.to_owned())?;
    let millis_each: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("{expected}; {count} has no unit")),
        _ => return Err(expected.to_owned()),
    };
    count.checked_mul(millis_each).map(Duration::from_millis).ok_or_else(|| expected.to_owned())
}

/// A duration as [`duration`] reads it, in the largest unit that is exact.
pub(super) fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    match units.iter().find(|(each, _)| millis >= *each && millis.is_multiple_of(*each)) {
        Some((each, unit)) => format!("{}{unit}", millis / each),
        None => format!("{millis}ms"),
    }
}

/// The signing key of the Standard Webhooks scheme: `whsec_` and base64.
pub(super) fn signing_secret(text: &str) -> Result<Secret, String> {
    let key = text.strip_prefix("whsec_").filter(|key| !key.is_empty());
    match key.map(|key| base64::engine::general_purpose::STANDARD.decode(key)) {
        Some(Ok(_)) => Ok(Secret::new(text)),
        _ => Err("expected \"whsec_\" followed by base64".to_owned()),
    }
}

/// The id of a workflow document: a letter or digit, then up to 63 letters, digits, `.`, `_` or `-`.
pub(super) fn workflow_id(text: &str) -> Result<holdline_core::WorkflowId, String> {
    let fits = text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-'));
    if fits {
        Ok(holdline_core::WorkflowId(text.to_owned()))
    } else {
        Err("expected the id of a workflow: letters, digits, \".\", \"_\" and \"-\", at most 64".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text in ["0ms", "250ms", "10s", "90s", "5m", "4h", "30d"] {
            assert_eq!(written(duration(text).unwrap()), text, "{text}");
        }
        for bad in ["", "s", "10", "1.5s", "-1s", "10 s", "10sec", "99999999999999999999s", "300000000000d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_exception_admits_what_it_names_and_no_more() {
        let inside: IpAddr = "10.1.2.3".parse().unwrap();
        let table = [
            ("crm", "crm", 80, true),
            ("crm", "CRM", 443, true),
            ("crm", "crm.evil.example", 80, false),
            ("crm:8080", "crm", 8080, true),
            ("crm:8080", "crm", 80, false),
            ("*.corp.example", "a.corp.example", 80, true),
            ("*.corp.example", "a.b.CORP.example", 80, true),
            ("*.corp.example", "corp.example", 80, false),
            ("*.corp.example", "evilcorp.example", 80, false),
            ("10.1.0.0/16", "anything", 80, true),
            ("10.2.0.0/16", "anything", 80, false),
            ("0.0.0.0/0", "anything", 80, true),
            ("10.1.2.3", "name-for-it", 80, true),
            ("10.1.2.3:81", "10.1.2.3", 80, false),
        ];
        for (entry, host, port, expected) in table {
            let admitted = AllowedHost::read(entry).unwrap().admits(host, port, inside);
            assert_eq!(admitted, expected, "{entry} for {host}:{port}");
        }
        assert!(AllowedHost::read("[::1]:80").unwrap().admits("[::1]", 80, "::1".parse().unwrap()));
        for bad in ["", "*.", "http://crm", "crm:port", "10.0.0.0/33", "a b"] {
            assert!(AllowedHost::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mapped_address_is_judged_as_the_v4_address_that_it_is() {
        let network = Network::read("10.0.0.0/8").unwrap();
        assert!(network.contains("::ffff:10.9.9.9".parse().unwrap()));
        assert!(!network.contains("::ffff:11.9.9.9".parse().unwrap()));
    }
}
