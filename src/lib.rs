//! Holdline is a runtime for phone calls: every call is one supervised state machine whose facts are on disk before
//! anybody sees what they lead to. *Kill the server in the middle of a call, and the caller stays on the line and goes on
//! at the same step; nothing acknowledged is lost, nothing is done twice.*
//!
//! This crate is the server (`holdline serve`) and the library that it is made of: the routes mount in any actix-web app,
//! and every part can be your own.
//!
//! # Five minutes
//!
//! ```sh
//! holdline demo                    # a whole call against a server of its own, told while it happens
//! holdline serve                   # the sample workflows of ./flows
//! holdline call hello              # from another terminal: a pretend phone network calls it
//! ```
//!
//! A workflow is a document (`docs/language.md`): actions in a row, with names, conditions, retries and jumps. A phone
//! network asks for `/webhooks/WORKFLOW`, performs the document that it gets, and comes back for the next one.
//!
//! # In your own program
//!
//! [`Runtime::builder`] starts one; [`Runtime::configure_public`] and [`Runtime::configure_control`] are its routes, and
//! [`on_connect`] belongs to the server that has them. [`Runtime::calls`] finds live calls, speaks into them and ends them.
//!
//! ```
//! use actix_web::{App, HttpServer, web};
//! use holdline::{Config, Runtime};
//!
//! const HELLO: &str = "tasks: [{ type: talk, parameters: { text: Hello } }]";
//!
//! # #[actix_web::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default();
//! # let data = tempfile::tempdir()?;
//! # let folder = data.path();
//! config.journal.path = folder.join("data");
//! let runtime = Runtime::builder(config)
//!     .origin("https://example.com/phone") // as the phone network reaches the scope below
//!     .flow("hello", HELLO)
//!     .start() // what an earlier process has left goes on, before this returns
//!     .await?;
//!
//! let routes = runtime.configure_public();
//! let server = HttpServer::new(move || {
//!     App::new().service(web::scope("/phone").configure(routes.clone()))
//! });
//! let server = server.on_connect(holdline::on_connect).bind("127.0.0.1:0")?.run();
//! # let handle = server.handle();
//! # actix_web::rt::spawn(server);
//! # handle.stop(true).await;
//!
//! assert!(runtime.calls().list().await?.is_empty());
//! runtime.drain(std::future::pending()).await; // live calls end by themselves
//! # runtime.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! The whole of it is `examples/embed.rs`, and `docs/embedding.md` says which part is replaced how.
//!
//! # Testing your workflows
//!
//! A call is a story: what the caller does, and what must come of it. `holdline test` performs such files in virtual time,
//! and `holdline_harness::Story` does it in a `#[test]`, with the actions of your own program; a difference is told line
//! by line. `examples/test_my_flow.rs` is one to copy, `docs/testing.md` says what a story may hold.
//!
//! # Parts of your own
//!
//! | | to begin with | whether it keeps what it must |
//! |---|---|---|
//! | actions, triggers, services | [`action`] | `holdline_harness::contract::action` |
//! | voices | [`speech`] | `holdline_harness::contract::speech` |
//! | stores | [`journal::Journal`] | `holdline_harness::contract::journal` |
//! | sound, recordings, other systems | [`port`] | |
//!
//! # What is stable
//!
//! What these pages show. Whatever else is reachable is hidden from them, belongs to the binary, and may change with any
//! version.

#![warn(missing_docs)]

pub mod action;
#[doc(hidden)]
pub mod adapter;
mod builder;
mod calls;
#[doc(hidden)]
pub mod cli;
pub mod config;
mod desk;
mod directory;
#[doc(hidden)]
pub mod flows;
mod metrics;
#[doc(hidden)]
pub mod placing;
#[doc(hidden)]
pub mod runtime;
#[doc(hidden)]
pub mod serve;
pub mod speech;
#[doc(hidden)]
pub mod telemetry;
mod trace;
#[doc(hidden)]
pub mod web;

pub use builder::{Builder, Flows, NotStarted};
pub use calls::{Call, Calls, When};
#[doc(inline)]
pub use config::{Config, Sources};
#[doc(inline)]
pub use placing::{NotPlaced, Wish};
#[doc(inline)]
pub use runtime::Runtime;
#[doc(inline)]
pub use serve::on_connect;
#[doc(inline)]
pub use web::problem::{Code, Problem};

/// Stores of your own: what [`Builder::journal`] takes.
pub mod journal {
    pub use holdline_actors::port::journal::{Journal, JournalError, Kind, Listed, MemoryJournal, Story};
    pub use holdline_core::fact::{Entry, Fact, Key};
}

/// Other parts of a runtime that can be your own.
pub mod port {
    pub use holdline_actors::door::FlowBook;
    pub use holdline_actors::port::audio::{Audio, Loaded};
    pub use holdline_actors::port::http::World;
    pub use holdline_actors::port::recording::{RecordingFile, Recordings};
}
