//! Standing in the world: listeners, the address that the network sees, signals, the ready line.

mod connection;
mod guests;
mod holder;
pub mod manager;
pub(crate) mod ngrok;
mod signal;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::config::{Config, PublicUrl};
pub use connection::{Parting, Wire, on_connect};
pub use guests::Guests;
pub use ngrok::TunnelError;
pub use signal::{Signal, Signals};

/// Both listeners, bound and not yet served: connections wait in their backlog meanwhile.
#[derive(Debug)]
pub struct Listeners {
    pub public: TcpListener,
    pub control: TcpListener,
    /// The service manager keeps the public one, and hands it to the next process.
    pub public_is_inherited: bool,
}

/// Why the server can't start, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error("{}", bind_cure(*.listener, *.address, .source))]
    Bind { listener: Listener, address: SocketAddr, source: io::Error },
    #[error(
        "the inherited listener for {listener} is not usable: {source}; see LISTEN_FDS and LISTEN_FDNAMES"
    )]
    Inherited { listener: Listener, source: io::Error },
    #[error(
        "refusing the inherited listener {address} for {listener}: it is reachable from other machines, and {missing}"
    )]
    Unsafe { listener: Listener, address: SocketAddr, missing: &'static str },
    #[error("[public] url = \"auto\": {0}")]
    Tunnel(#[from] TunnelError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Public,
    Control,
}

/// What is known once both listeners are bound; printed, it is the ready line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    pub public: SocketAddr,
    pub control: SocketAddr,
    /// The origin as the network sees it, without a slash at the end.
    pub origin: String,
}

impl Listeners {
    /// Takes the listeners that a service manager (systemd, or a test) hands over, and binds the others. An inherited
    /// listener keeps its backlog over a restart, so that callers in between are late instead of lost.
    pub fn open(config: &Config) -> Result<Listeners, StartError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut inherited = ListenFd::from_env();
        let mut take = |listener: Listener| match position(listener, &names, inherited.len()) {
            Some(index) => inherited
                .take_tcp_listener(index)
                .map_err(|source| StartError::Inherited { listener, source }),
            None => Ok(None),
        };
        let (public, control) = (take(Listener::Public)?, take(Listener::Control)?);
        let listeners = Listeners {
            public_is_inherited: public.is_some(),
            public: or_bind(public, Listener::Public, config.public.bind)?,
            control: or_bind(control, Listener::Control, config.control.bind)?,
        };
        listeners.check_inherited(config)?;
        Ok(listeners)
    }

    /// The configuration has judged the addresses that it names; an inherited one is judged here, by the same rule.
    fn check_inherited(&self, config: &Config) -> Result<(), StartError> {
        let signed = !config.twilio.auth_tokens.is_empty() || config.public.insecure_no_signatures;
        let guarded = !config.control.tokens.is_empty();
        let rules = [
            (
                Listener::Public,
                &self.public,
                signed,
                "[twilio] auth_tokens has no token to check signatures with",
            ),
            (Listener::Control, &self.control, guarded, "[control] tokens has none"),
        ];
        for (listener, socket, safe, missing) in rules {
            let address = socket.local_addr().map_err(|source| StartError::Inherited { listener, source })?;
            if !safe && !address.ip().is_loopback() {
                return Err(StartError::Unsafe { listener, address, missing });
            }
        }
        Ok(())
    }

    /// The addresses really bound, and the origin that goes with them (this may ask ngrok).
    pub async fn addresses(&self, config: &Config) -> Result<Addresses, StartError> {
        let of = |listener: Listener, socket: &TcpListener| {
            socket.local_addr().map_err(|source| StartError::Inherited { listener, source })
        };
        let public = of(Listener::Public, &self.public)?;
        let control = of(Listener::Control, &self.control)?;
        let origin = match &config.public.url {
            PublicUrl::Origin(origin) => origin.clone(),
            PublicUrl::Auto => tunnel_to(public.port()).await?,
            PublicUrl::Bound => format!("http://{}", reachable(public)),
        };
        Ok(Addresses { public, control, origin })
    }
}

impl Addresses {
    /// The URL to give to the phone network.
    pub fn voice(&self, workflow: &str) -> String {
        format!("{}/webhooks/{workflow}", self.origin)
    }

    /// The one line on stdout, by which scripts know that connections are served.
    pub fn ready_line(&self, workflow: &str) -> String {
        let (public, control) = (self.public, self.control);
        format!(
            "holdline ready public=http://{public} control=http://{control} voice={}",
            self.voice(workflow)
        )
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Listener::Public => "public",
            Listener::Control => "control",
        })
    }
}

/// The https origin by which a running ngrok leads to a port of ours.
pub(crate) async fn tunnel_to(port: u16) -> Result<String, TunnelError> {
    ngrok::origin(ngrok::LOCAL_API, port).await
}

/// Which inherited socket is whose: by name if the service manager gave names, else public first, control second.
fn position(listener: Listener, names: &str, count: usize) -> Option<usize> {
    let mut named = names.split(':');
    let index = match named.position(|name| name == listener.to_string()) {
        Some(index) => index,
        None if names.split(':').any(|name| matches!(name, "public" | "control")) => return None,
        None => listener as usize,
    };
    (index < count).then_some(index)
}

fn or_bind(
    inherited: Option<TcpListener>,
    listener: Listener,
    address: SocketAddr,
) -> Result<TcpListener, StartError> {
    match inherited {
        Some(socket) => Ok(socket),
        None => TcpListener::bind(address).map_err(|source| StartError::Bind { listener, address, source }),
    }
}

fn bind_cure(listener: Listener, address: SocketAddr, error: &io::Error) -> String {
    let section = listener.to_string();
    let setting = format!("[{section}] bind (HOLDLINE__{}__BIND)", section.to_uppercase());
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder =
                holder::of_port(address.port()).map(|holder| format!(": {holder}")).unwrap_or_default();
            format!(
                "can't listen on {address} for {listener}: another program has that port{holder}. Stop it, or set \
                 {setting} to another one; port 0 takes any free one"
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "can't listen on {address} for {listener}: ports below 1024 need a right that this process has not. Set \
             {setting} to a higher port"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "can't listen on {address} for {listener}: this machine has no such address. Set {setting} to 127.0.0.1 \
             or 0.0.0.0 with a port"
        ),
        _ => format!("can't listen on {address} for {listener}: {error}. The address is set by {setting}"),
    }
}

/// "All addresses" is none that a client could ask for; on this machine loopback is meant.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_ports() -> Config {
        let mut config = Config::default();
        config.public.bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.control.bind = config.public.bind;
        config
    }

    #[actix_rt::test]
    async fn port_0_is_any_free_port_and_the_ready_line_names_it() {
        let mut config = free_ports();
        let listeners = Listeners::open(&config).unwrap();
        let (public, control) =
            (listeners.public.local_addr().unwrap(), listeners.control.local_addr().unwrap());
        assert!(public.port() != 0 && public.port() != control.port());
        let line = listeners.addresses(&config).await.unwrap().ready_line("hello");
        let expected = format!(
            "holdline ready public=http://{public} control=http://{control} voice=http://{public}/webhooks/hello"
        );
        assert_eq!(line, expected);
        config.public.url = PublicUrl::Origin("https://v.example/base".to_owned());
        let voice = listeners.addresses(&config).await.unwrap().voice("menu");
        assert_eq!(voice, "https://v.example/base/webhooks/menu");
    }

    #[test]
    fn a_taken_port_names_the_setting_to_change() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = free_ports();
        config.control.bind = taken.local_addr().unwrap();
        let said = Listeners::open(&config).unwrap_err().to_string();
        assert!(said.contains("another program has that port"), "{said}");
        assert!(said.contains("[control] bind (HOLDLINE__CONTROL__BIND)"), "{said}");
    }

    #[test]
    fn an_inherited_socket_is_taken_by_name_or_else_by_order() {
        let table = [
            ("", 2, Some(0), Some(1)),
            ("", 1, Some(0), None),
            ("", 0, None, None),
            ("unknown:unknown", 2, Some(0), Some(1)),
            ("control:public", 2, Some(1), Some(0)),
            ("control", 1, None, Some(0)),
        ];
        for (names, count, public, control) in table {
            assert_eq!(position(Listener::Public, names, count), public, "{names}");
            assert_eq!(position(Listener::Control, names, count), control, "{names}");
        }
    }

    #[test]
    fn an_inherited_socket_beyond_loopback_needs_what_a_bound_one_needs() {
        let open = |address: &str| TcpListener::bind(address).unwrap();
        let listeners =
            Listeners { public: open("0.0.0.0:0"), control: open("127.0.0.1:0"), public_is_inherited: true };
        let mut config = free_ports();
        assert!(matches!(listeners.check_inherited(&config), Err(StartError::Unsafe { .. })));
        config.public.insecure_no_signatures = true;
        assert!(listeners.check_inherited(&config).is_ok());
    }

    #[test]
    fn the_voice_address_is_one_that_can_be_asked() {
        assert_eq!(reachable("0.0.0.0:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(reachable("[::]:80".parse().unwrap()).to_string(), "[::1]:80");
        assert_eq!(reachable("10.0.0.1:80".parse().unwrap()).to_string(), "10.0.0.1:80");
    }
}
