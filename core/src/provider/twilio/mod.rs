//! Twilio and compatible networks.
