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
use holdline_core::front::{self, Refusal, Request};
use holdline_core::limit::BODY_BYTES_MAX;

use crate::config::Network;
use crate::serve::{Guests, Parting, Wire};
use crate::web::control::{Directory, health, ready};

/// For the whole body of a request: the network sends its few hundred bytes at once.
const BODY: Duration = Duration::from_secs(10);

/// What every public request needs.
pub struct Public {
    pub door: Arc<Door>,
    pub trusted_proxies: Vec<Network>,
    pub start_deadline: Duration,
    /// Connections of both listeners.
    pub guests: Arc<Guests>,
}

impl Public {
    pub fn new(door: Arc<Door>, trusted_proxies: Vec<Network>, start_deadline: Duration) -> Public {
        let guests = Arc::new(Guests::new(door.tally.clone()));
        Public { door, trusted_proxies, start_deadline, guests }
    }

    /// Whose request this is. Behind a proxy that is believed it is the one whom the proxy saw.
    pub fn source(&self, peer: Option<IpAddr>, forwarded_for: Option<&str>) -> Option<IpAddr> {
        front::source(peer, peer.is_some_and(|peer| self.trusts(peer)), forwarded_for)
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
    let source = public.source(peer, header("x-forwarded-for"));
    let is_signed = header("x-twilio-signature").is_some();
    if !looks_only && let Some(refusal) = public.door.too_many(source, is_signed) {
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
        match tokio::time::timeout(BODY, read_body(payload)).await.unwrap_or(Err(Refusal::too_slow())) {
            Ok(body) => (body, None),
            Err(refusal) => return Ok(answer(public.door.turned_back(refusal, source))),
        }
    };
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let opened = public
        .door
        .knock(
            &Request {
                method: request.method().as_str(),
                target,
                header: &header,
                body: &body,
                peer_is_trusted_proxy: peer.is_some_and(|peer| public.trusts(peer)),
            },
            source,
        )
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
