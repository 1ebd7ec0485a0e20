//! Where recordings go. Writing happens off the arbiters; a file's header is right from the first byte on.

use futures_util::future::BoxFuture;

pub trait Recordings: Send + Sync {
    /// Begins a file, relative to the recordings folder.
    fn open(&self, file: &str, channels: u8) -> Box<dyn RecordingFile>;
}

pub trait RecordingFile: Send {
    /// Never waits; what can't be taken is dropped and told at the end.
    fn append(&mut self, pcm: Vec<u8>);
    /// The bytes that the file holds in the end, its header included.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<u64, String>>;
}
