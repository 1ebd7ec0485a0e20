//! The ticket of one exchange's stream: `…/wss/{call}/{token}`.
//!
//! It derives from the instance's key, so that the same document can be given again after a crash without the token
//! ever being written down. That it is used only once is for the call machine to see to.

use crate::id::CallId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// 128 bits: guessing one takes longer than any call lasts, and it makes 22 characters of URL.
const TOKEN_BYTES: usize = 16;

/// base64url, without padding, of the first 128 bits of HMAC-SHA256(instance key, `CallSid|N`).
pub fn stream_token(instance_key: &[u8], call: &CallId, exchange: u32) -> String {
    let code = code(instance_key, call, exchange).finalize().into_bytes();
    URL_SAFE_NO_PAD.encode(code.get(..TOKEN_BYTES).unwrap_or_default())
}

/// Whether that is the token of that exchange, in a time that doesn't tell how much of it was right.
pub fn is_stream_token(instance_key: &[u8], call: &CallId, exchange: u32, presented: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(presented) else { return false };
    // The truncated comparison takes any length from one byte up, so the length is checked first.
    bytes.len() == TOKEN_BYTES && code(instance_key, call, exchange).verify_truncated_left(&bytes).is_ok()
}

fn code(instance_key: &[u8], call: &CallId, exchange: u32) -> Hmac<Sha256> {
    let mut code = super::signature::keyed::<Hmac<Sha256>>(instance_key);
    code.update(format!("{call}|{exchange}").as_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_its_own_exchange_only() {
        let (key, call) = (b"an instance's key".as_slice(), CallId("CA1".into()));
        let token = stream_token(key, &call, 3);
        assert_eq!(token.len(), 22);
        assert!(is_stream_token(key, &call, 3, &token));
        assert!(!is_stream_token(key, &call, 4, &token));
        assert!(!is_stream_token(key, &CallId("CA2".into()), 3, &token));
        assert!(!is_stream_token(b"another key", &call, 3, &token));
        for presented in ["", "A", &token[..20], &format!("{token}A"), &format!("{token}=="), "???"] {
            assert!(!is_stream_token(key, &call, 3, presented), "{presented:?}");
        }
    }
}
