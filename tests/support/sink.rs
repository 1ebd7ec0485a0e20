//! Another system, which notes who asked it for what and under which id. What it noted is on disk, so it can be judged
//! when everything else has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

const NOTES: &str = "asked";
/// The headers by which a receiver knows a second time.
const IDS: [&str; 2] = ["idempotency-key", "webhook-id"];

pub struct Sink {
    pub origin: String,
}

impl Sink {
    /// Listens for as long as the process lives.
    pub fn start(home: &Path) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let notes = Arc::new(Mutex::new(File::create(home.join(NOTES)).unwrap()));
        thread::spawn(move || {
            for asked in listener.incoming().flatten() {
                let notes = notes.clone();
                thread::spawn(move || answer(asked, &notes));
            }
        });
        Sink { origin }
    }
}

/// The ids under which each path and query was asked for, and how often it was asked in all.
pub fn asked(home: &Path) -> (BTreeMap<String, BTreeSet<String>>, usize) {
    let notes = fs::read_to_string(home.join(NOTES)).unwrap();
    let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for note in notes.lines() {
        let (path, id) = note.split_once(' ').unwrap();
        asked.entry(path.to_owned()).or_default().insert(id.to_owned());
    }
    (asked, notes.lines().count())
}

/// One request after the other, until the connection ends: whoever asks may die at any moment.
fn answer(asked: TcpStream, notes: &Mutex<File>) -> Option<()> {
    let mut from = BufReader::new(asked.try_clone().ok()?);
    let mut to = asked;
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let (mut length, mut id) = (0, String::new());
        loop {
            let mut header = String::new();
            from.read_line(&mut header).ok().filter(|read| *read > 0)?;
            let Some((name, value)) = header.split_once(':') else { break };
            let (name, value) = (name.to_ascii_lowercase(), value.trim());
            if IDS.contains(&name.as_str()) {
                id = value.to_owned();
            } else if name == "content-length" {
                length = value.parse().ok()?;
            }
        }
        from.read_exact(&mut vec![0; length]).ok()?;
        writeln!(notes.lock().unwrap(), "{path} {id}").unwrap();
        to.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            .ok()?;
    }
}
