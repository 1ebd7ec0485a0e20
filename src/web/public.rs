//! The public listener: moves requests to the door and answers back. It decides nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, UPGRADE};
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{HttpRequest, HttpResponse};
use futures::StreamExt;
use holdline_actors::carrier::web_actor;
use holdline_actors::door::{Door, HttpAnswer, Opened};
use holdline_core::front::{Refusal, Request};
use holdline_core::limit::BODY_BYTES_MAX;

use crate::config::Network;
use crate::serve::{Parting, Wire};
use crate::web::control::{Directory, health, ready};
use crate::web::rate::RateLimit;

/// What every public request needs.
pub struct Public {
    pub door: Arc<Door>,
    pub trusted_proxies: Vec<Network>,
    pub start_deadline: Duration,
    /// None: no bound.
    rate: Option<RateLimit>,
}

impl Public {
    /// `rate_limit`: requests a second from one address.
    pub fn new(
        door: Arc<Door>,
        trusted_proxies: Vec<Network>,
        start_deadline: Duration,
        rate_limit: Option<u32>,
    ) -> Public {
        Public { door, trusted_proxies, start_deadline, rate: rate_limit.map(RateLimit::new) }
    }

    /// The refusal of an address that asks too often. Behind a proxy that is believed it is the one that the proxy saw.
    pub fn too_many(&self, peer: Option<IpAddr>, forwarded_for: Option<&str>) -> Option<Refusal> {
        let (rate, peer) = (self.rate.as_ref()?, peer?);
        let seen = forwarded_for.filter(|_| self.trusts(peer)).and_then(|seen| seen.rsplit(',').next());
        let address = seen.and_then(|seen| seen.trim().parse().ok()).unwrap_or(peer);
        (!rate.admits(address, self.door.clock.now().tick)).then(Refusal::too_many)
    }

    /// What this peer says of those before it is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(peer))
    }
}

/// Mounts the routes that the phone network asks. All of them are the door's: it knows the paths.
pub fn configure(app: &mut web::ServiceConfig, public: Arc<Public>, directory: Arc<dyn Directory>) {
    app.app_data(web::Data::from(public));
    app.app_data(web::Data::from(directory));
    app.default_service(web::to(knock));
}

async fn knock(
    request: HttpRequest,
    payload: web::Payload,
    public: web::Data<Public>,
    directory: web::Data<dyn Directory>,
) -> Result<HttpResponse, actix_web::Error> {
    let peer = request.peer_addr().map(|address| address.ip());
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    // Whoever looks whether we are well is not counted.
    let looks_only = ["/health", "/ready"].iter().any(|path| request.path().ends_with(path));
    if !looks_only && let Some(refusal) = public.too_many(peer, header("x-forwarded-for")) {
        return Ok(answer(public.door.refused(&refusal)));
    }
    // A client that would also speak HTTP/2 says so by the same header; that is no socket.
    let upgrade = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
    let is_socket = upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    if is_socket && let Err(error) = actix_http::ws::verify_handshake(request.head()) {
        // Before the door is asked, which would use up the token.
        let status = actix_http::Response::from(error).status();
        return Ok(HttpResponse::build(status).body(format!("{error}\n")));
    }
    let (body, payload) = if is_socket {
        (Bytes::new(), Some(payload))
    } else {
        match read_body(payload).await {
            Ok(body) => (body, None),
            Err(refusal) => return Ok(answer(public.door.refused(&refusal))),
        }
    };
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let opened = public
        .door
        .knock(&Request {
            method: request.method().as_str(),
            target,
            header: &header,
            body: &body,
            peer_is_trusted_proxy: peer.is_some_and(|peer| public.trusts(peer)),
        })
        .await;
    match (opened, payload) {
        (Opened::Answer(said), _) => Ok(answer(said)),
        (Opened::Upgrade(ticket), Some(payload)) => {
            let wire = request.conn_data::<Wire>().cloned();
            web_actor::upgrade(public.door.clone(), ticket, public.start_deadline, &request, payload)
                .map(|response| response.map_body(|_, body| Parting::new(body, wire).boxed()))
        }
        (Opened::Upgrade(_), None) => Ok(HttpResponse::UpgradeRequired().finish()),
        (Opened::Health, _) => Ok(health()),
        (Opened::Ready, _) => Ok(ready(&**directory).await),
    }
}

/// The whole body, or the refusal once it has become too large: before anything else is looked at.
async fn read_body(mut payload: web::Payload) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let Ok(chunk) = chunk else { break };
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(Refusal::too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn answer(said: HttpAnswer) -> HttpResponse {
    let status = StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(content_type) = said.content_type {
        response.insert_header((CONTENT_TYPE, content_type));
    }
    if let Some(allow) = said.allow {
        response.insert_header((ALLOW, allow));
    }
    response.body(said.body)
}
