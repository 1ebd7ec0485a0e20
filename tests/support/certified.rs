//! What stands before a server on a real road: a proxy that speaks TLS, with a certificate of an authority that only
//! this test knows.

use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Span, Zoned};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::proxy::{self, Fault};

/// Who vouches for a test's servers.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// One certificate, which begins and ends so many days from now.
pub struct Wish<'w> {
    pub name: &'w str,
    pub begins_in_days: i64,
    pub ends_in_days: i64,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Whoever trusts this file trusts the authority.
    pub fn write(&self, file: &Path) {
        std::fs::write(file, self.0.pem()).unwrap();
    }

    /// A proxy by TLS before a server: its port on this machine.
    pub async fn proxy(&self, server: String, wish: &Wish<'_>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(self.certified(wish)));
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (server, acceptor) = (server.clone(), acceptor.clone());
                tokio::spawn(async move {
                    // Whoever does not trust the certificate goes away.
                    if let Ok(caller) = acceptor.accept(caller).await {
                        proxy::pass(caller, &server, Fault::None).await;
                    }
                });
            }
        });
        port
    }

    fn certified(&self, wish: &Wish<'_>) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([wish.name.to_owned()]).unwrap();
        let today = Zoned::now().with_time_zone(TimeZone::UTC);
        let in_days = |days: i64| {
            let day = today.checked_add(Span::new().days(days)).unwrap();
            date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
        };
        params.not_before = in_days(wish.begins_in_days);
        params.not_after = in_days(wish.ends_in_days);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let building =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let building = building.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        building.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }
}
