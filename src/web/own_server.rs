//! The public listener of the server of its own: an actix-web app like any other, but for its streams. They leave HTTP
//! at the upgrade and are carried by [`holdline_actors::carrier::raw`].

use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;

use actix_codec::{Encoder, Framed};
use actix_http::body::BodySize;
use actix_http::h1::{self, Codec, SendResponse};
use actix_http::header::{ALLOW, CONTENT_TYPE};
use actix_http::{HttpMessage, HttpService, Request, Response, StatusCode, ws};
use actix_server::Server;
use actix_service::{fn_service, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use actix_web::web::ServiceConfig;
use holdline_actors::carrier::line::Connection;
use holdline_actors::carrier::raw;
use holdline_actors::door::{HttpAnswer, Opened};
use holdline_core::front;

use crate::serve::on_connect;
use crate::web::public::Public;

/// Seconds for requests that are being answered when the server stops.
const SHUTDOWN: u64 = 1;

/// Serves `routes` on `listener`, and carries the streams that `public` lets in.
pub fn serve<F>(listener: TcpListener, routes: F, public: Arc<Public>) -> io::Result<Server>
where
    F: FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
{
    let server = Server::build().disable_signals().shutdown_timeout(SHUTDOWN);
    let server = server.listen("public", listener, move || {
        let (routes, public) = (routes.clone(), public.clone());
        let guests = public.clone();
        HttpService::build()
            .on_connect_ext(move |io: &TcpStream, data: &mut _| {
                on_connect(io, data);
                let is_proxy = |peer| guests.trusts(peer);
                guests.guests.receive("public", io, data, is_proxy);
            })
            .upgrade(fn_service(move |(request, framed)| upgrade(public.clone(), request, framed)))
            .h1(map_config(App::new().configure(routes), |_| AppConfig::default()))
            .tcp()
    })?;
    Ok(server.run())
}

/// What wants to be a stream comes here before any routing: the door decides, as for every other carrier.
async fn upgrade(
    public: Arc<Public>,
    request: Request,
    framed: Framed<TcpStream, Codec>,
) -> Result<(), actix_http::Error> {
    if let Err(error) = ws::verify_handshake(request.head()) {
        let status = Response::from(error).status();
        return refuse(framed, Response::new(status).set_body(format!("{error}\n"))).await;
    }
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let peer = request.peer_addr().map(|address| address.ip());
    let source = public.source(peer, header("x-forwarded-for"));
    if let Some(refusal) = public.door.too_many(source, header("x-twilio-signature").is_some()) {
        return refuse(framed, answer(public.door.refused(&refusal))).await;
    }
    let opened = public
        .door
        .knock(
            &front::Request {
                method: request.method().as_str(),
                target: request.uri().path_and_query().map_or("/", |target| target.as_str()),
                header: &header,
                body: &[],
                peer_is_trusted_proxy: peer.is_some_and(|peer: IpAddr| public.trusts(peer)),
            },
            source,
        )
        .await;
    let ticket = match opened {
        Opened::Upgrade(ticket) => ticket,
        Opened::Answer(said) => return refuse(framed, answer(said)).await,
        Opened::Health | Opened::Ready => {
            let said = Response::new(StatusCode::BAD_REQUEST).set_body("this is no stream\n".to_owned());
            return refuse(framed, said).await;
        }
    };
    let accepted = ws::handshake_response(request.head()).finish().drop_body();
    let mut parts = framed.into_parts();
    let head = h1::Message::Item((accepted, BodySize::None));
    if let Err(error) = parts.codec.encode(head, &mut parts.write_buf) {
        tracing::error!(%error, "the answer to a stream's request could not be written");
        return Ok(());
    }
    let connection = Connection { io: parts.io, unread: parts.read_buf, unsent: parts.write_buf };
    if let Err(error) = raw::carry(public.door.clone(), ticket, public.start_deadline, connection) {
        tracing::error!(%error, "a stream's socket could not be taken out of its connection");
    }
    Ok(())
}

async fn refuse(
    framed: Framed<TcpStream, Codec>,
    mut response: Response<String>,
) -> Result<(), actix_http::Error> {
    response.head_mut().set_connection_type(actix_http::ConnectionType::Close);
    SendResponse::new(framed, response).await.map(drop)
}

fn answer(said: HttpAnswer) -> Response<String> {
    let status = StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::build(status);
    if let Some(content_type) = said.content_type {
        response.insert_header((CONTENT_TYPE, content_type));
    }
    if let Some(allow) = said.allow {
        response.insert_header((ALLOW, allow));
    }
    response.finish().set_body(said.body)
}
