//! Signatures in the manner of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";

/// The headers of a signed message. `None`: the secret isn't one.
pub fn headers(secret: &str, id: &str, unix_seconds: u64, body: &[u8]) -> Option<[(String, String); 3]> {
    Some([
        ("webhook-id".to_owned(), id.to_owned()),
        ("webhook-timestamp".to_owned(), unix_seconds.to_string()),
        ("webhook-signature".to_owned(), signature(secret, id, unix_seconds, body)?),
    ])
}

/// `v1,` and the base64 of the code.
pub fn signature(secret: &str, id: &str, unix_seconds: u64, body: &[u8]) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX).unwrap_or(secret)).ok()?;
    let mut code = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    code.update(format!("{id}.{unix_seconds}.").as_bytes());
    code.update(body);
    Some(format!("v1,{}", STANDARD.encode(code.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_comes_out() {
        // The example that the standard's own libraries test themselves with.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signed =
            signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert_eq!(signature("whsec_?", "a", 1, b""), None);
    }
}
