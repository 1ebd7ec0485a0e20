//! Who answers at the public listener while no server runs: as the door would, and without any effect. It remembers how
//! each look arrived, so that what a proxy changed on the way can be named.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use actix_http::ws;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use futures::StreamExt;
use holdline_actors::door::FlowBook;
use holdline_core::WorkflowId;
use holdline_core::front::{self, Ask, Flows, FrontConfig, Refusal, Request};
use holdline_core::limit::BODY_BYTES_MAX;

use crate::config::{Config, Network};
use crate::flows::FlowLibrary;
use crate::runtime::front_config;
use crate::web::control::health;

/// How one request came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Path and query.
    pub target: String,
    pub has_signature: bool,
    pub body: Bytes,
    pub status: u16,
}

/// It answers until it is stopped.
pub struct StandIn {
    pub address: SocketAddr,
    inside: Arc<Inside>,
    server: actix_web::dev::ServerHandle,
}

struct Inside {
    front: FrontConfig,
    trusted_proxies: Vec<Network>,
    known: Known,
    arrived: Mutex<Vec<Arrived>>,
}

struct Known(Arc<FlowLibrary>);

impl Flows for Known {
    fn exists(&self, id: &str) -> bool {
        self.0.find(&WorkflowId(id.to_owned())).is_some()
    }
}

impl StandIn {
    /// `origin` is what signatures are checked with.
    pub fn start(
        config: &Config,
        origin: String,
        flows: Arc<FlowLibrary>,
        listener: TcpListener,
    ) -> std::io::Result<StandIn> {
        let address = listener.local_addr()?;
        let inside = Arc::new(Inside {
            front: front_config(config, origin),
            trusted_proxies: config.public.trusted_proxies.clone(),
            known: Known(flows),
            arrived: Mutex::default(),
        });
        let serving = web::Data::from(inside.clone());
        let server =
            HttpServer::new(move || App::new().app_data(serving.clone()).default_service(web::to(answer)))
                .disable_signals()
                .shutdown_timeout(1)
                .workers(1)
                .listen(listener)?
                .run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Ok(StandIn { address, inside, server: handle })
    }

    /// The newest request whose target holds these words.
    pub fn arrived(&self, mark: &str) -> Option<Arrived> {
        let arrived = self.inside.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.iter().rev().find(|request| request.target.contains(mark)).cloned()
    }

    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn answer(request: HttpRequest, payload: web::Payload, inside: web::Data<Inside>) -> HttpResponse {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let has_signature = header("x-twilio-signature").is_some();
    let is_socket = header("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    let (body, payload) =
        if is_socket { (Some(Bytes::new()), Some(payload)) } else { (read(payload).await, None) };
    let peer = request.peer_addr().map(|address| address.ip());
    let asked = match &body {
        None => Err(Refusal::too_large()),
        Some(body) => front::admit(
            &Request {
                method: request.method().as_str(),
                target: &target,
                header: &header,
                body,
                peer_is_trusted_proxy: peer
                    .is_some_and(|peer| inside.trusted_proxies.iter().any(|network| network.contains(peer))),
            },
            &inside.front,
            &inside.known,
        ),
    };
    let answer = match (asked, payload) {
        (Err(refusal), _) => {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            HttpResponse::build(status).body(format!("{}\n", refusal.message))
        }
        (Ok(Ask::Health), _) => health(),
        (Ok(Ask::Stream { .. } | Ask::BareStream { .. }), Some(payload)) => open(&request, payload),
        // A caller who comes by just now: nobody can take the call, and to say so is all that can be done.
        (Ok(Ask::Voice(_)), _) => HttpResponse::Ok().content_type("text/xml").body(BUSY),
        _ => HttpResponse::ServiceUnavailable().body("holdline doctor looks around; no server runs\n"),
    };
    let arrived = Arrived {
        target: target.clone(),
        has_signature,
        body: body.unwrap_or_default(),
        status: answer.status().as_u16(),
    };
    let mut all = inside.arrived.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= ARRIVED_MAX {
        all.remove(0);
    }
    all.push(arrived);
    answer
}

/// A WebSocket that answers the first thing that comes by its close.
fn open(request: &HttpRequest, payload: web::Payload) -> HttpResponse {
    if ws::verify_handshake(request.head()).is_err() {
        return HttpResponse::BadRequest().finish();
    }
    let handshake = ws::handshake_response(request.head()).finish();
    let mut response = HttpResponse::build(handshake.status());
    for (name, value) in handshake.headers() {
        response.insert_header((name.clone(), value.clone()));
    }
    response.upgrade("websocket");
    let closing = payload.take(1).map(|_| Ok::<_, actix_web::Error>(Bytes::from_static(&CLOSE)));
    response.streaming(closing)
}

/// The whole body; none if it is longer than any that is taken.
async fn read(mut payload: web::Payload) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while let Some(Ok(piece)) = payload.next().await {
        if body.len() + piece.len() > BODY_BYTES_MAX {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    Some(body.freeze())
}

const BUSY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Reject reason=\"busy\"/></Response>";
/// Close, 1000.
const CLOSE: [u8; 4] = [0x88, 0x02, 0x03, 0xe8];
/// Ours are a handful; strangers may come by as well.
const ARRIVED_MAX: usize = 256;
