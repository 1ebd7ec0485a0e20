//! Where a request goes: relative references against the current document, and the retry wishes in a fragment.

use std::time::Duration;

use ::url::Url;

/// An absolute URL without its fragment, and what the fragment asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub url: String,
    pub retry: Retry,
}

/// Connection overrides (`#rc=5&rp=all&ct=1000&tt=15000`), or their defaults: one retry, of failed connects only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    pub count: u32,
    pub connect: bool,
    pub read_timeout: bool,
    pub client_error: bool,
    pub server_error: bool,
    pub connect_for: Duration,
    pub read_for: Duration,
    pub total_for: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("expected a URL, got `{got}`: {why}")]
    NotUrl { got: String, why: String },
    #[error("expected {expected}, got scheme `{got}`")]
    Scheme { expected: &'static str, got: String },
    #[error("expected a host, got `{0}`")]
    NoHost(String),
    #[error("expected a host without underscores, got `{0}`")]
    Underscore(String),
}

/// The network's own limit on the whole of one request.
pub const TOTAL_MAX: Duration = Duration::from_secs(15);
const RETRIES_MAX: u32 = 5;

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            count: 1,
            connect: true,
            read_timeout: false,
            client_error: false,
            server_error: false,
            connect_for: Duration::from_millis(5000),
            read_for: TOTAL_MAX,
            total_for: TOTAL_MAX,
        }
    }
}

impl Target {
    /// `reference` may be relative to `base`; empty means `base` itself.
    pub fn resolve(base: &str, reference: &str) -> Result<Target, Error> {
        let mut url = join(base, reference.trim())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Scheme { expected: "http or https", got: url.scheme().to_owned() });
        }
        let retry = url.fragment().map_or_else(Retry::default, Retry::read);
        url.set_fragment(None);
        Ok(Target { url: url.into(), retry })
    }

    /// The URL of a GET: the fields follow whatever query it has.
    pub fn with_query(&self, fields: &[(String, String)]) -> String {
        match Url::parse(&self.url) {
            Ok(mut url) => {
                if !fields.is_empty() {
                    url.query_pairs_mut().extend_pairs(fields.iter().map(|(name, value)| (name, value)));
                }
                url.into()
            }
            Err(_) => self.url.clone(),
        }
    }
}

/// A stream's URL: `ws` and `wss`, and `http(s)` of a relative one turned into them. The second value is the query
/// that was cut off, since the network drops it.
pub fn resolve_stream(base: &str, reference: &str) -> Result<(String, Option<String>), Error> {
    let mut url = join(base, reference.trim())?;
    let scheme = match url.scheme() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        other => return Err(Error::Scheme { expected: "wss or ws", got: other.to_owned() }),
    };
    url.set_fragment(None);
    let query = url.query().map(str::to_owned);
    url.set_query(None);
    // `Url::set_scheme` refuses http -> ws (both are special, but older versions differ), so the text is rebuilt.
    let rest = url.as_str().split_once(':').map_or("", |(_, rest)| rest);
    Ok((format!("{scheme}:{rest}"), query))
}

/// A form body, or a query.
pub fn encode(fields: &[(String, String)]) -> String {
    ::url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The fields of a form body, or of a query.
pub fn decode(text: &str) -> Vec<(String, String)> {
    ::url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn join(base: &str, reference: &str) -> Result<Url, Error> {
    let wrong = |why: ::url::ParseError| Error::NotUrl {
        got: reference.chars().take(200).collect(),
        why: why.to_string(),
    };
    let mut url = match Url::parse(reference) {
        Ok(url) => url,
        Err(::url::ParseError::RelativeUrlWithoutBase) => {
            Url::parse(base).and_then(|base| base.join(reference)).map_err(wrong)?
        }
        Err(why) => return Err(wrong(why)),
    };
    if reference.is_empty() {
        url.set_fragment(
            ::url::Url::parse(base).ok().and_then(|base| base.fragment().map(str::to_owned)).as_deref(),
        );
    }
    match url.host_str() {
        None | Some("") => Err(Error::NoHost(reference.to_owned())),
        Some(host) if host.contains('_') => Err(Error::Underscore(host.to_owned())),
        Some(_) => Ok(url),
    }
}

impl Retry {
    /// Unknown keys (`e`, `sni`) and bad numbers leave the default.
    fn read(fragment: &str) -> Retry {
        let mut retry = Retry::default();
        for (name, value) in fragment.split('&').filter_map(|pair| pair.split_once('=')) {
            let millis =
                |max: u64| value.parse().ok().map(|given: u64| Duration::from_millis(given.min(max)));
            match name {
                "rc" => retry.count = value.parse().unwrap_or(retry.count).min(RETRIES_MAX),
                "ct" => retry.connect_for = millis(10_000).unwrap_or(retry.connect_for),
                "rt" => retry.read_for = millis(15_000).unwrap_or(retry.read_for),
                "tt" => retry.total_for = millis(15_000).unwrap_or(retry.total_for),
                "rp" => {
                    let wishes: Vec<&str> = value.split(',').collect();
                    let has = |wish: &str| wishes.contains(&wish) || wishes.contains(&"all");
                    retry.connect = has("ct");
                    retry.read_timeout = has("rt");
                    retry.client_error = has("4xx");
                    retry.server_error = has("5xx");
                }
                _ => {}
            }
        }
        retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_a_wish_and_never_part_of_the_request() {
        let target =
            Target::resolve("http://h:1/webhooks/a", "/webhooks/a/next?x=2#rc=9&rp=ct,5xx&ct=1000&tt=99999")
                .unwrap();
        assert_eq!(target.url, "http://h:1/webhooks/a/next?x=2");
        assert_eq!((target.retry.count, target.retry.connect, target.retry.read_timeout), (5, true, false));
        assert!(target.retry.server_error && !target.retry.client_error);
        assert_eq!(target.retry.connect_for, Duration::from_secs(1));
        assert_eq!(target.retry.total_for, TOTAL_MAX);
        assert_eq!(Target::resolve("https://h/p", "").unwrap().retry, Retry::default());
        assert_eq!(Target::resolve("https://h/p#rc=3", "").unwrap().retry.count, 3);
    }

    #[test]
    fn references_resolve_against_the_current_document() {
        let resolve =
            |reference| Target::resolve("https://h.example/a/b?c=1", reference).map(|target| target.url);
        assert_eq!(resolve("d").unwrap(), "https://h.example/a/d");
        assert_eq!(resolve("").unwrap(), "https://h.example/a/b?c=1");
        assert_eq!(resolve("?x=1").unwrap(), "https://h.example/a/b?x=1");
        assert_eq!(resolve("//other/e").unwrap(), "https://other/e");
        assert!(matches!(resolve("ftp://h/x"), Err(Error::Scheme { .. })));
        assert!(matches!(resolve("http://my_host/x"), Err(Error::Underscore(_))));
        assert!(matches!(resolve("http://"), Err(Error::NotUrl { .. })));
    }

    #[test]
    fn a_stream_url_loses_its_query() {
        assert_eq!(
            resolve_stream("https://h/a", "wss://h:8443/s/t?token=1").unwrap(),
            ("wss://h:8443/s/t".into(), Some("token=1".into()))
        );
        assert_eq!(resolve_stream("http://h:80/a/b", "/ws").unwrap(), ("ws://h/ws".into(), None));
    }
}
