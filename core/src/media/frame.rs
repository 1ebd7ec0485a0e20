//! 20 ms of µ-law audio at 8000 Hz, the unit in which a call's sound moves.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Samples per second of everything that the phone network sends and takes.
pub const SAMPLE_RATE: u32 = 8000;
/// One frame is 20 ms.
pub const FRAME_MS: u64 = 20;
/// One byte a sample: 160 bytes are 20 ms.
pub const FRAME_BYTES: usize = 160;
/// A frame as time.
pub const FRAME: Duration = Duration::from_millis(FRAME_MS);
/// The µ-law byte of silence (plus zero).
pub const SILENT_BYTE: u8 = 0xFF;
/// A whole frame of silence.
pub static SILENCE: [u8; FRAME_BYTES] = [SILENT_BYTE; FRAME_BYTES];

/// One frame. Frames of a whole sound point into it, so that a file which a thousand calls play exists once.
#[derive(Debug, Clone)]
pub struct Frame(Inner);

#[derive(Debug, Clone)]
enum Inner {
    Silence,
    Shared { sound: Arc<[u8]>, at: usize },
    Own([u8; FRAME_BYTES]),
}

impl Frame {
    pub fn silence() -> Frame {
        Frame(Inner::Silence)
    }

    /// The frame of `sound` that begins at byte `at`; a last partial frame is filled up with silence.
    pub fn of(sound: &Arc<[u8]>, at: usize) -> Frame {
        match sound.get(at..).unwrap_or_default() {
            rest if rest.len() >= FRAME_BYTES => Frame(Inner::Shared { sound: Arc::clone(sound), at }),
            rest => Frame::padded(rest),
        }
    }

    /// A frame of its own from at most 160 bytes, filled up with silence.
    pub fn padded(bytes: &[u8]) -> Frame {
        let mut own = SILENCE;
        let most = bytes.len().min(FRAME_BYTES);
        if let (Some(to), Some(from)) = (own.get_mut(..most), bytes.get(..most)) {
            to.copy_from_slice(from);
        }
        Frame(Inner::Own(own))
    }

    pub fn bytes(&self) -> &[u8; FRAME_BYTES] {
        match &self.0 {
            Inner::Silence => &SILENCE,
            Inner::Shared { sound, at } => {
                sound.get(*at..).and_then(|rest| rest.first_chunk()).unwrap_or(&SILENCE)
            }
            Inner::Own(own) => own,
        }
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Frame) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Frame {}

/// Sound as a stream brings and takes it: nearly always one frame, which needs no memory of its own.
#[derive(Clone)]
pub enum Audio {
    Frame(Frame),
    /// Of any other length.
    Odd(Box<[u8]>),
}

impl Deref for Audio {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Audio::Frame(frame) => frame.bytes(),
            Audio::Odd(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Audio {
    fn from(bytes: &[u8]) -> Audio {
        match bytes.as_array() {
            Some(frame) => Audio::Frame(Frame(Inner::Own(*frame))),
            None => Audio::Odd(bytes.into()),
        }
    }
}

impl From<Frame> for Audio {
    fn from(frame: Frame) -> Audio {
        Audio::Frame(frame)
    }
}

impl PartialEq for Audio {
    fn eq(&self, other: &Audio) -> bool {
        **self == **other
    }
}

impl Eq for Audio {}

impl fmt::Debug for Audio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of audio", self.len())
    }
}
