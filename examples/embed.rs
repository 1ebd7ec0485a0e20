//! An actix-web program with routes of its own takes calls, too.
//!
//! ```text
//! cargo run --example embed
//! cargo run -- call hello --server http://127.0.0.1:8090/phone --press 1@2s     # from another terminal
//! curl http://127.0.0.1:8090/                                                    # meanwhile
//! ```
//!
//! Kill it in the middle of a call (`kill -9`), start it again, and the caller goes on at the same step.

use std::error::Error;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, rt, web};
use holdline::{Config, Problem, Runtime};

const HELLO: &str = r#"
tasks:
  - type: talk
    parameters: { text: "Hello from a program of your own. Press 1 to hear it again." }
  - type: digits_receive
    name: keys
    parameters: { duration: 5s, length: 1 }
  - type: talk
    when: "=keys.digits == '1'"
    parameters: { text: "Hello once more." }
"#;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:8090")?;
    let origin = format!("http://{}/phone", listener.local_addr()?);
    let runtime = start(&origin, &std::env::temp_dir().join("holdline-embed")).await?;
    let server = serve(&runtime, listener)?;
    let handle = server.handle();
    rt::spawn(server);
    println!("serving {origin}: holdline call hello --server {origin}");

    rt::signal::ctrl_c().await?;
    println!("no new calls; live ones go on until they end. Ctrl-C once more hands them over");
    let now = async { _ = rt::signal::ctrl_c().await };
    if !runtime.drain(now).await {
        runtime.hand_over().await;
    }
    handle.stop(true).await;
    Ok(())
}

/// The runtime: everything as the configuration says, but for what this program knows better.
pub async fn start(origin: &str, data: &Path) -> Result<Arc<Runtime>, Box<dyn Error>> {
    let mut config = Config::default();
    config.journal.path = data.to_owned();
    let runtime = Runtime::builder(config).origin(origin).flow("hello", HELLO).start().await?;
    Ok(Arc::new(runtime))
}

/// The program's server: its own routes, and ours beside them.
pub fn serve(runtime: &Arc<Runtime>, listener: TcpListener) -> std::io::Result<Server> {
    let runtime = runtime.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(runtime.clone()))
            .route("/", web::get().to(front_page))
            .route("/calls/{sid}/say", web::post().to(say))
            // Behind a proxy, this scope alone is what the phone network must reach …
            .service(web::scope("/phone").configure(runtime.configure_public()))
            // … and this one is for you: it has the API, guarded by `[control] tokens`.
            .service(web::scope("/holdline").configure(runtime.configure_control()))
    });
    Ok(server.on_connect(holdline::on_connect).workers(1).disable_signals().listen(listener)?.run())
}

async fn front_page(runtime: web::Data<Runtime>) -> Result<String, Problem> {
    let calls = runtime.calls().list().await?;
    let lines = calls.iter().map(|call| format!("{} {} from {}\n", call.sid, call.state, call.from));
    Ok(format!("{} live calls\n{}", calls.len(), lines.collect::<String>()))
}

/// What the body says is what the caller hears.
async fn say(
    runtime: web::Data<Runtime>,
    sid: web::Path<String>,
    text: String,
) -> Result<&'static str, Problem> {
    runtime.calls().say(&sid, &text).await?;
    Ok("said\n")
}
